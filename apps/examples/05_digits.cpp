// SPDX-License-Identifier: BSD-3-Clause
// The published experiment of non-negative PU learning (Kiryo et al. 2017, figure 1): even digits are positive, odd ones negative; 100 even
// ones are labelled, the other 59 900 pictures are not. A flexible network drives the unbiased risk (uPU) below zero and then errs more and
// more on new pictures; the non-negative one (nnPU) does not. PN learns from the labelled ones and 50 known odd ones.
//   05_digits                      digits drawn by the program, a few seconds; also a test
//   05_digits FOLDER --out DIR     MNIST or a relative: unpacked IDX files {train,t10k}-{images-idx3,labels-idx1}-ubyte

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "digits_data.hpp"
#include "../common/chart.hpp"
#include "write_whole.hpp"
#include "voxgrad/engine.hpp"
#include "voxgrad/pu/registry.hpp"

using namespace voxgrad;

namespace {

struct Setting {
  int64_t labelled, negatives, hidden, batch, epochs;
  double rate, decay;
  uint64_t seed;
};
constexpr Setting published{100, 50, 100, 30000, 100, 1e-3, 0.005, 1};
constexpr Setting drawn{100, 50, 32, 750, 40, 3e-3, 0.005, 1};

class Perceptron : public nn::Module {
 public:
  Perceptron(int64_t in, int64_t hidden, Random& random) : first_(in, hidden, random), second_(hidden, 1, random) {
    child("l1", first_);
    child("l2", second_);
  }
  Tensor operator()(const Tensor& x) const { return second_(relu(first_(x))); }

 private:
  nn::Linear first_, second_;
};

/// Pictures with their codes: 1 labelled positive, 0 unlabeled, 2 known negative.
struct Sample {
  std::vector<int64_t> picture;
  std::vector<uint8_t> code;
};

Tensor pictures(const examples::Digits& d, const std::vector<int64_t>& which) {
  Tensor x = Tensor::zeros({int64_t(which.size()), d.pixels});
  const auto to = x.mutable_span<float>();
  for (size_t i = 0; i < which.size(); ++i)
    std::copy_n(d.pictures.begin() + which[i] * d.pixels, d.pixels, to.begin() + std::ptrdiff_t(i) * d.pixels);
  return x;
}

bool even(const examples::Digits& d, int64_t i) { return d.digit[size_t(i)] % 2 == 0; }

/// The first `labelled` even digits are P, all other pictures U; the first odd ones are PN's N.
struct Split {
  Sample pu, pn;
  double prior = 0;  ///< of the unlabeled pictures
};
Split split(const examples::Digits& d, const Setting& s, Random& random) {
  std::vector<int64_t> order(size_t(d.size()));
  for (size_t i = 0; i < order.size(); ++i) order[i] = int64_t(i);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[size_t(random.below(i))]);
  Split out;
  int64_t p = 0, n = 0, hidden = 0;
  for (int64_t i : order) {
    const bool positive = even(d, i), label = positive && p < s.labelled;
    if (label) ++p;
    else hidden += positive;
    out.pu.picture.push_back(i);
    out.pu.code.push_back(label);
    if (label || (!positive && n < s.negatives)) {
      n += !positive;
      out.pn.picture.push_back(i);
      out.pn.code.push_back(label ? 1 : 2);
    }
  }
  check<UsageError>(p == s.labelled && n == s.negatives, "the set has ", p, " even and ", n, " odd digits (expected at least ", s.labelled, " and ",
                    s.negatives, "): lower --labelled or --negatives");
  out.prior = double(hidden) / double(d.size() - p);
  return out;
}

/// Outputs for all pictures of a list, without a graph.
std::vector<double> outputs(const Perceptron& net, const examples::Digits& d, const std::vector<int64_t>& which) {
  NoGrad no_grad;
  std::vector<double> z;
  for (size_t from = 0; from < which.size(); from += 10000) {
    const size_t to = std::min(which.size(), from + 10000);
    for (float v : net(pictures(d, {which.begin() + std::ptrdiff_t(from), which.begin() + std::ptrdiff_t(to)})).span<float>()) z.push_back(double(v));
  }
  return z;
}

struct Row {
  double train_risk, train_zero_one, test_risk, test_error;
};

/// Sigmoid risk and zero-one risk on the training data as the method sees them: without correction, so they may be negative.
void training_risks(const std::vector<double>& z, const Sample& s, double prior, Row& row) {
  double n_p = 0, n_u = 0, p = 0, p_neg = 0, u = 0, missed = 0, called = 0;
  bool known = false;
  for (size_t i = 0; i < z.size(); ++i) {
    const double score = 1 / (1 + std::exp(-z[i]));
    if (s.code[i] == 1) n_p += 1, p += 1 - score, p_neg += score, missed += z[i] <= 0;
    else n_u += 1, u += score, called += z[i] > 0, known = s.code[i] == 2;
  }
  p /= n_p, p_neg /= n_p, missed /= n_p, u /= n_u, called /= n_u;
  row.train_risk = prior * p + (known ? (1 - prior) * u : u - prior * p_neg);
  row.train_zero_one = prior * missed + (known ? (1 - prior) * called : called - prior * (1 - missed));
}

void test_risks(const std::vector<double>& z, const examples::Digits& d, Row& row) {
  row.test_risk = row.test_error = 0;
  for (size_t i = 0; i < z.size(); ++i) {
    const double margin = even(d, int64_t(i)) ? z[i] : -z[i];
    row.test_risk += 1 / (1 + std::exp(margin)) / double(z.size());
    row.test_error += (margin <= 0) / double(z.size());
  }
}

/// PN learning: prior <l(z)>_P + (1 - prior) <l(-z)>_N.
pu::Objective pn_risk(double prior) {
  return pu::objective("pn", [prior](pu::Stats& s) {
    return pu::step(prior * s.mean(pu::P, pu::sigmoid_loss) + (1 - prior) * s.mean(pu::N, pu::neg(pu::sigmoid_loss)));
  });
}

/// Every method starts from the same weights and makes the same number of steps.
std::vector<Row> learn(const pu::Objective& risk, const examples::Digits& train, const examples::Digits& test, const Sample& sample, double prior,
                       int64_t steps_per_epoch, const Setting& s) {
  Random random(s.seed, 1), shuffle(s.seed, 2);
  Perceptron net(train.pixels, s.hidden, random);
  optim::Adam adam(net.parameters(), {.lr = s.rate, .weight_decay = s.decay});
  std::vector<int64_t> all(size_t(test.size()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = int64_t(i);
  std::vector<size_t> order(sample.code.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::vector<Row> rows;
  for (int64_t epoch = 0; epoch < s.epochs; ++epoch) {
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[size_t(shuffle.below(i))]);
    for (int64_t step = 0; step < steps_per_epoch; ++step) {
      const bool whole = int64_t(order.size()) <= s.batch;
      const size_t from = whole ? 0 : size_t(step * s.batch), to = whole ? order.size() : std::min(order.size(), from + size_t(s.batch));
      Sample b;
      for (size_t i = from; i < to; ++i) b.picture.push_back(sample.picture[order[i]]), b.code.push_back(sample.code[order[i]]);
      const pu::Labels labels(b.code, {int64_t(b.code.size()), 1});
      backward(risk(net(pictures(train, b.picture)), labels).loss);
      adam.step();
    }
    Row row{};
    training_risks(outputs(net, train, sample.picture), sample, prior, row);
    test_risks(outputs(net, test, all), test, row);
    rows.push_back(row);
  }
  return rows;
}

int run(const std::string& folder, const std::string& out, const Setting& s) {
  if (!out.empty()) {  // before minutes of work
    mkdir(out.c_str(), 0777);
    struct stat info {};
    check<FileError>(stat(out.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && access(out.c_str(), W_OK) == 0, out,
                     ": cannot be made, or is no folder that can be written to. Give --out another one.");
  }
  const bool own = folder.empty();
  const examples::Digits train = own ? examples::draw_digits(3000, s.seed) : examples::read_digits(folder, true);
  const examples::Digits test = own ? examples::draw_digits(1500, s.seed + 1) : examples::read_digits(folder, false);
  check<UsageError>(train.pixels == test.pixels, folder, ": training pictures have ", train.pixels, " pixels, test pictures ", test.pixels);
  Random random(s.seed, 3);
  const Split data = split(train, s, random);
  const auto steps = std::max<int64_t>(1, (train.size() + s.batch - 1) / s.batch);
  std::printf("data: %s, %lld training and %lld test pictures; even ones are positive\n",
              own ? "digits drawn by this program (not MNIST)" : folder.c_str(), (long long)train.size(), (long long)test.size());
  std::printf("%lld labelled, prior of the others %.4f; PN: %lld known odd ones; %lld steps per epoch, Adam %g\n", (long long)s.labelled, data.prior,
              (long long)s.negatives, (long long)steps, s.rate);
  const pu::RiskOptions options{.prior = data.prior, .surrogate = pu::sigmoid_loss, .scenario = pu::Scenario::case_control};
  const std::vector<std::pair<std::string, pu::Objective>> methods{
      {"uPU", pu::risk_by_name("upu", options)}, {"nnPU", pu::risk_by_name("nnpu", options)}, {"PN", pn_risk(data.prior)}};

  std::string table = "method,epoch,train_risk,train_zero_one,test_risk,test_error\n";
  std::vector<chart::Panel> panels{{"training: zero-one risk as estimated", "epoch", {}}, {"test: zero-one risk", "epoch", {}}};
  std::map<std::string, std::vector<Row>> results;
  for (const auto& [name, risk] : methods) {
    const std::vector<Row> rows = results[name] = learn(risk, train, test, name == "PN" ? data.pn : data.pu, data.prior, steps, s);
    chart::Series training{name, {}}, tested{name, {}};
    for (size_t e = 0; e < rows.size(); ++e) {
      const Row& r = rows[e];
      char line[200];
      std::snprintf(line, sizeof line, "%s,%zu,%.6f,%.6f,%.6f,%.6f\n", name.c_str(), e + 1, r.train_risk, r.train_zero_one, r.test_risk, r.test_error);
      table += line;
      training.y.push_back(r.train_zero_one);
      tested.y.push_back(r.test_error);
      if (e == 0 || (e + 1) % std::max<size_t>(1, rows.size() / 5) == 0)
        std::printf("%-5s epoch %3zu  training: risk %7.4f, zero-one %7.4f   test: risk %.4f, zero-one %.4f\n", name.c_str(), e + 1, r.train_risk,
                    r.train_zero_one, r.test_risk, r.test_error);
    }
    const auto best = std::min_element(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.test_error < b.test_error; });
    std::printf("%-5s lowest test error %.4f in epoch %lld, %.4f in the end\n", name.c_str(), best->test_error,
                (long long)(best - rows.begin() + 1), rows.back().test_error);
    panels[0].series.push_back(training);
    panels[1].series.push_back(tested);
  }
  if (!out.empty()) {
    examples::write_whole(out + "/digits.csv", table);
    examples::write_whole(out + "/digits.svg", chart::svg(panels));
    std::printf("%s/digits.csv, %s/digits.svg\n", out.c_str(), out.c_str());
  }
  if (!own) return 0;
  // What must hold on the drawn digits: uPU's training risk falls below zero and nnPU's final test error stays below uPU's.
  const bool as_published = results["uPU"].back().train_risk < -0.02 && results["nnPU"].back().train_risk > -0.02 &&
                            results["nnPU"].back().test_error + 0.02 < results["uPU"].back().test_error;
  std::printf("%s\n", as_published ? "as published: uPU overfits, nnPU does not" : "NOT as published");
  return as_published ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  std::string folder, out;
  std::map<std::string, double> given;
  try {
    for (int i = 1; i < count; ++i) {
      const std::string word = words[i];
      if (word.rfind("--", 0) != 0) {
        folder = word;
        continue;
      }
      check<UsageError>(i + 1 < count, word, " needs a value");
      const std::string value = words[++i];
      if (word == "--out") {
        out = value;
        continue;
      }
      check<UsageError>(word == "--labelled" || word == "--negatives" || word == "--hidden" || word == "--batch" || word == "--epochs" ||
                            word == "--rate" || word == "--decay" || word == "--seed",
                        word, " is not one of --out, --labelled, --negatives, --hidden, --batch, --epochs, --rate, --decay, --seed");
      char* end = nullptr;
      given[word] = std::strtod(value.c_str(), &end);
      check<UsageError>(*end == 0 && !value.empty() && given[word] >= (word == "--decay" || word == "--seed" ? 0 : 1e-12), word, " is '", value,
                        "' (expected a number above 0)");
    }
    Setting s = folder.empty() ? drawn : published;
    const auto set = [&](const char* name, auto& value) {
      if (given.count(name)) value = std::remove_reference_t<decltype(value)>(given[name]);
    };
    set("--labelled", s.labelled), set("--negatives", s.negatives), set("--hidden", s.hidden), set("--batch", s.batch), set("--epochs", s.epochs);
    set("--rate", s.rate), set("--decay", s.decay), set("--seed", s.seed);
    return run(folder, out, s);
  } catch (const UsageError& e) {
    std::fprintf(stderr, "05_digits: %s\n", e.what());
    return 2;
  } catch (const Error& e) {
    std::fprintf(stderr, "05_digits: %s\n", e.what());
    return 1;
  }
}
