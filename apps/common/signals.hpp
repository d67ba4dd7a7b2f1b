// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// INT and TERM ask for an orderly stop, USR1 for a checkpoint; a second INT stops at once.

namespace voxgrad::app {

/// Installs the handlers (once per process).
void install_signal_handlers();
/// The signal that asked for a stop, 0 for none.
int stop_signal();
/// True once after each USR1.
bool take_checkpoint_request();
/// Text written to standard error by the handler before a second INT ends the program (the terminal's
/// cursor); static text only.
void set_terminal_restore(const char* text);
/// Forgets requests (for tests).
void reset_signals();

/// Thrown by Session::check_stop(); main turns it into 128 + signal. Not an Error: nothing is wrong.
struct Interrupted {
  int signal = 0;
};

}  // namespace voxgrad::app
