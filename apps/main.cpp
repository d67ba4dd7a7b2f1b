// SPDX-License-Identifier: BSD-3-Clause
// The one program. Each subcommand lives in its own file; this is the list of them.

#include "commands.hpp"
#include "common/cli.hpp"

int main(int argc, char** argv) {
  const std::vector<voxgrad::app::Command> commands = {
      // One line per subcommand, in the order of the help.
      voxgrad::app::make_demo(),
      voxgrad::app::make_inspect(),
      voxgrad::app::make_simulate(),
      voxgrad::app::make_sample(),
      voxgrad::app::make_train(),
      voxgrad::app::make_optimize(),
      voxgrad::app::make_prior(),
      voxgrad::app::make_predict(),
      voxgrad::app::make_evaluate(),
      voxgrad::app::make_bench(),
  };
  return voxgrad::app::run_program(commands, argc, argv);
}
