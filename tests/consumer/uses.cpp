// SPDX-License-Identifier: BSD-3-Clause
// What another project does with the installed headers: shapes, the thread pool (so -pthread must have come along).

#include <atomic>
#include <cstdio>

#include <voxgrad/core/parallel.hpp>
#include <voxgrad/core/shape.hpp>
#include <voxgrad/version.hpp>

int main() {
  const voxgrad::Shape shape{3, 5, 7};
  std::atomic<long> sum{0};
  voxgrad::parallel_for(shape.size(), 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) sum += i;
  });
  std::printf("voxgrad %s sum %ld\n", voxgrad::version, sum.load());
  return sum == 105 * 104 / 2 ? 0 : 1;
}
