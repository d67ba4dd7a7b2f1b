// SPDX-License-Identifier: BSD-3-Clause
// The list of subcommands. Each lives in its own file.

#include "voxgrad/app.hpp"

#include "commands.hpp"
#include "common/cli.hpp"
#include "common/kernels_cpu.hpp"

namespace voxgrad::app {

int run_program(int argc, const char* const* argv) {
  link_cpu_kernels();
  const std::vector<Command> commands = {
      // One line per subcommand, in the order of the help.
      make_demo(),
      make_inspect(),
      make_simulate(),
      make_sample(),
      make_train(),
      make_optimize(),
      make_prior(),
      make_predict(),
      make_evaluate(),
      make_report(),
      make_convert(),
      make_bench(),
  };
  return run_program(commands, argc, argv);
}

}  // namespace voxgrad::app
