// SPDX-License-Identifier: BSD-3-Clause
#pragma once
// The built program as a child process, its streams in files.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

/// What a file holds, "" if there is none.
inline std::string text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

/// A running `voxgrad WORDS...` on one thread, in the folder `in`.
class Child {
 public:
  Child(const std::string& in, const std::vector<std::string>& words) : out_(in + "/.out"), err_(in + "/.err") {
    std::vector<std::string> all = {VOXGRAD_PROGRAM};
    all.insert(all.end(), words.begin(), words.end());
    std::vector<char*> argv;
    for (std::string& w : all) argv.push_back(w.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    const int out = open(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), err = open(err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(out, 1);
    dup2(err, 2);
    setenv("VOXGRAD_THREADS", "1", 1);
    if (chdir(in.c_str()) == 0 && nice(5) != -1000) execv(argv[0], argv.data());  // nice: the test that watches it goes first
    _exit(127);
  }
  ~Child() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void signal(int number) const { kill(pid_, number); }
  /// The exit code, 128 + signal if it was killed; -1 if it does not end within a minute.
  int wait() {
    for (int i = 0; i < 60000; ++i) {
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return -1;
  }
  /// Waits until `condition` holds; false after a minute or when the program has ended.
  template <class F>
  bool until(F condition) const {
    for (int i = 0; i < 60000; ++i) {
      if (condition()) return true;
      siginfo_t info{};
      if (waitid(P_PID, id_t(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0) return condition();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  std::string out() const { return text_of(out_); }
  std::string err() const { return text_of(err_); }

 private:
  std::string out_, err_;
  pid_t pid_ = 0;
};

/// How a finished command ended.
struct Ended {
  int code;
  std::string out, err;
};
inline Ended run(const std::string& in, const std::vector<std::string>& words) {
  Child child(in, words);
  const int code = child.wait();
  return {code, child.out(), child.err()};
}
