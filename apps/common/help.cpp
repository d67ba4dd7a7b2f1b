// SPDX-License-Identifier: BSD-3-Clause
// The help texts, the completion file and the man page, all from the option tables.

#include <algorithm>
#include <sstream>

#include "cli.hpp"
#include "voxgrad/version.hpp"

namespace voxgrad::app {

namespace {

constexpr int widest = 110;  // longer lines are hard to read
const char* const groups[] = {"Data", "Model", "Training", "Output", "StarDist", "Instances", "Hardware", "Messages"};

/// The words of `body` in lines of at most `width` columns, each but the first indented.
std::string wrap(const std::string& body, int width, int indent) {
  std::istringstream words(body);
  std::string out;
  int column = indent;
  for (std::string word; words >> word;) {
    if (column > indent && column + 1 + int(word.size()) > width) {
      out += "\n" + std::string(std::size_t(indent), ' ');
      column = indent;
    }
    if (column > indent) out += " ", ++column;
    out += word;
    column += int(word.size());
  }
  return out;
}

bool short_name(const std::string& alias) { return alias.size() == 2; }

std::string left_column(const Option& option) {
  std::string out = "    ";
  for (const std::string& alias : option.aliases)
    if (short_name(alias)) out = alias + ", ";
  out += option.name;
  if (!option.value.empty()) out += " " + option.value;
  return out;
}

std::string explanation(const Option& option) {
  std::string out = option.help;
  if (option.repeatable) out += "; may be given several times";
  if (!option.fallback.empty()) out += " [" + option.fallback + "]";
  return out;
}

std::string usage(const Command& command) {
  return "voxgrad " + command.name + " [OPTIONS]" +
         (command.usage_inputs.empty() ? "" : " " + command.usage_inputs);
}

/// Calls f(group, options of it) for every group that has options.
template <class F>
void each_group(const Command& command, F f) {
  std::vector<std::string> names(std::begin(groups), std::end(groups));
  for (const Option& option : command.options)
    if (std::find(names.begin(), names.end(), option.group) == names.end()) names.push_back(option.group);
  for (const std::string& name : names) {
    std::vector<Option> members;
    for (const Option& option : command.options)
      if (option.group == name) members.push_back(option);
    if (!members.empty()) f(name.empty() ? std::string("Options") : name, members);
  }
}

}  // namespace

std::string program_help(const std::vector<Command>& commands, int width) {
  width = std::min(width, widest);
  std::ostringstream out;
  out << wrap("voxgrad: deep learning for 3-D microscopy, from movie to events. One subcommand per job.",
              width, 0)
      << "\n\nUsage: voxgrad SUBCOMMAND [OPTIONS] [FILE...]\n\nSubcommands:\n";
  std::size_t longest = 0;
  for (const Command& command : commands) longest = std::max(longest, command.name.size());
  for (const Command& command : commands)
    out << "  " << command.name << std::string(longest - command.name.size() + 2, ' ')
        << wrap(command.summary, width, int(longest) + 4) << "\n";
  out << "\nvoxgrad help SUBCOMMAND    its options and examples\nvoxgrad --version [--json] version, "
         "libraries, "
         "kernels\nvoxgrad completion bash    completion file for the shell\n";
  return out.str();
}

std::string command_help(const Command& command, int width) {
  width = std::min(width, widest);
  constexpr int most_left = 32;
  std::ostringstream out;
  out << wrap(command.summary, width, 0) << "\n\nUsage: " << usage(command) << "\n";
  each_group(command, [&](const std::string& group, const std::vector<Option>& options) {
    out << "\n" << group << ":\n";
    for (const Option& option : options) {
      std::string left = "  " + left_column(option);
      if (int(left.size()) > most_left - 2)
        left += "\n" + std::string(most_left, ' ');
      else
        left.resize(most_left, ' ');
      out << left << wrap(explanation(option), width, most_left) << "\n";
    }
  });
  if (!command.examples.empty()) out << "\nExamples:\n";
  for (const Example& example : command.examples)
    out << "  " << example.line << "\n      " << wrap(example.says, width, 6) << "\n";
  if (!command.more.empty()) out << "\n" << wrap("More: " + command.more, width, 0) << "\n";
  return out.str();
}

namespace {
std::string option_words(const Command& command) {
  std::string out;
  for (const Option& option : command.options) {
    out += (out.empty() ? "" : " ") + option.name;
    for (const std::string& alias : option.aliases)
      if (short_name(alias)) out += " " + alias;
  }
  return out;
}
}  // namespace

std::string bash_completion(const std::vector<Command>& commands) {
  std::ostringstream out;
  out << "# bash completion for voxgrad, made by: voxgrad completion bash\n"
         "_voxgrad() {\n  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} "
         "options=\n"
         "  COMPREPLY=()\n  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    mapfile -t COMPREPLY < <(compgen -W '";
  for (const Command& command : commands) out << command.name << " ";
  out << "help completion --help --version' -- \"$word\")\n    return\n  fi\n  case ${COMP_WORDS[1]} in\n    "
         "help) options='";
  for (const Command& command : commands) out << command.name << " ";
  out << "' ;;\n";
  for (const Command& command : commands) {
    out << "    " << command.name << ")\n      options='" << option_words(command)
        << "'\n      case $previous in\n";
    for (const Option& option : command.options) {
      if (option.value.empty()) continue;
      std::string names = option.name;
      for (const std::string& alias : option.aliases) names += "|" + alias;
      if (option.value == "DIR") {
        out << "        " << names << ") mapfile -t COMPREPLY < <(compgen -d -- \"$word\"); return ;;\n";
      } else if (option.value.find('|') != std::string::npos) {
        std::string words = option.value;
        std::replace(words.begin(), words.end(), '|', ' ');
        out << "        " << names << ") mapfile -t COMPREPLY < <(compgen -W '" << words
            << "' -- \"$word\"); return ;;\n";
      } else {
        out << "        " << names << ") mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n";
      }
    }
    out << "        *) ;;\n      esac ;;\n";
  }
  out << "    *) ;;\n  esac\n  if [[ $word == -* || ${COMP_WORDS[1]} == help ]]; then\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n  else\n"
         "    mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n  fi\n}\ncomplete -o filenames -F _voxgrad "
         "voxgrad\n";
  return out.str();
}

namespace {
/// Text that the man page's formatter takes literally.
std::string roff(const std::string& body) {
  std::string out;
  for (const char c : body) {
    if (c == '-')
      out += "\\-";
    else if (c == '\\')
      out += "\\e";
    else
      out += c;
  }
  return !out.empty() && (out[0] == '.' || out[0] == '\'') ? "\\&" + out : out;
}
}  // namespace

std::string man_page(const std::vector<Command>& commands) {
  std::ostringstream out;
  out << ".TH VOXGRAD 1 \"\" \"voxgrad " << version
      << "\" \"User Commands\"\n.SH NAME\nvoxgrad \\- deep learning for 3-D "
         "microscopy, from movie to events\n.SH SYNOPSIS\n.B voxgrad\nSUBCOMMAND [OPTIONS] [FILE...]\n.SH "
         "SUBCOMMANDS\n";
  for (const Command& command : commands) {
    out << ".SS " << roff(command.name) << "\n"
        << roff(command.summary) << "\n.PP\n.B " << roff(usage(command)) << "\n";
    each_group(command, [&out](const std::string&, const std::vector<Option>& options) {
      for (const Option& option : options) {
        std::string name = left_column(option);
        name.erase(0, name.find_first_not_of(' '));
        out << ".TP\n.B " << roff(name) << "\n" << roff(explanation(option)) << "\n";
      }
    });
    for (const Example& example : command.examples)
      out << ".PP\n" << roff(example.says) << "\n.PP\n.nf\n" << roff(example.line) << "\n.fi\n";
    if (!command.more.empty()) out << ".PP\n" << roff(command.more) << "\n";
  }
  out << ".SH EXIT STATUS\n0 success; 2 wrong option, key or value, nothing was written; 1 anything that "
         "went wrong with data, "
         "model or machine; 128 + signal when interrupted.\n.SH ENVIRONMENT\n.TP\n.B "
         "VOXGRAD_THREADS\nthreads to use; "
         "\\-\\-threads goes before it\n.TP\n.B VOXGRAD_DEVICE\ndevice to use; \\-\\-device goes before "
         "it\n.TP\n.B "
         "VOXGRAD_ISA\nforces the CPU kernel set: scalar, avx2 or avx512\n.SH SIGNALS\nINT and TERM stop in "
         "order, with a "
         "checkpoint; a second INT stops at once; USR1 writes a checkpoint.\n";
  return out.str();
}

}  // namespace voxgrad::app
