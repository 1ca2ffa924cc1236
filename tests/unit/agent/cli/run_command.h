// Runs the command line inside the test.
#pragma once

#include "agent/cli/cli.h"

#include <boost/json/parse.hpp>

#include <sstream>
#include <string>
#include <vector>

namespace homeport::agent::test {

struct Ran {
  int code;
  std::string out, err;
  boost::json::value json() const { return boost::json::parse(out); }
};

inline Ran run_command(const std::vector<std::string>& arguments, bool interactive = false) {
  std::ostringstream out, err;
  int code = run_command_line(arguments, {out, err, interactive});
  return {code, out.str(), err.str()};
}

/// The words of `line`, without any quoting.
inline std::vector<std::string> words(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> result;
  for (std::string word; stream >> word;) result.push_back(word);
  return result;
}

}  // namespace homeport::agent::test
