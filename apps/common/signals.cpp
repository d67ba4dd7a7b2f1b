// SPDX-License-Identifier: BSD-3-Clause
// Signal handlers that only set flags.

#include "signals.hpp"

#include <csignal>
#include <cstring>

#include <unistd.h>

namespace voxgrad::app {

namespace {
volatile std::sig_atomic_t stop = 0;
volatile std::sig_atomic_t checkpoint = 0;
const char* volatile terminal_restore = nullptr;

void on_stop(int signal) {
  if (stop != 0 && signal == SIGINT) {
    if (const char* text = terminal_restore) {
      const ssize_t written = write(STDERR_FILENO, text, std::strlen(text));
      static_cast<void>(written);  // nothing can be done about it here
    }
    _exit(128 + signal);
  }
  stop = signal;
}
void on_checkpoint(int) { checkpoint = 1; }
}  // namespace

void install_signal_handlers() {
  struct sigaction action = {};
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  action.sa_handler = on_stop;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = on_checkpoint;
  sigaction(SIGUSR1, &action, nullptr);
  // A reader that went away (`voxgrad inspect f | head`) ends the program quietly, which is the default of
  // SIGPIPE.
}

int stop_signal() { return stop; }

bool take_checkpoint_request() {
  const bool asked = checkpoint != 0;
  checkpoint = 0;
  return asked;
}

void set_terminal_restore(const char* text) { terminal_restore = text; }

void reset_signals() {
  stop = 0;
  checkpoint = 0;
}

}  // namespace voxgrad::app
