#include "tests/lab/cleanup.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <exception>
#include <iostream>
#include <string_view>
#include <utility>

namespace homeport::lab {
namespace {

constexpr std::string_view kPrefix = "hp-";

}  // namespace

void Cleanup::add(std::string what, std::function<void()> step) {
  steps_.push_back({std::move(what), std::move(step)});
}

void Cleanup::run() noexcept {
  while (!steps_.empty()) {
    Step step = std::move(steps_.back());
    steps_.pop_back();
    try {
      step.undo();
    } catch (const std::exception& error) {
      std::cerr << "lab: clean-up of " << step.what << " failed: " << error.what() << '\n';
    }
  }
}

std::string own_name(const std::string& what) {
  return std::string(kPrefix) + std::to_string(getpid()) + "-" + what;
}

bool is_abandoned(const std::string& name) {
  if (!name.starts_with(kPrefix)) return false;
  const auto end = name.find('-', kPrefix.size());
  if (end == std::string::npos || end == kPrefix.size()) return false;
  const std::string pid = name.substr(kPrefix.size(), end - kPrefix.size());
  if (!std::all_of(pid.begin(), pid.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return false;
  }
  return ::kill(std::stoi(pid), 0) != 0;
}

bool remove_control_group(const std::filesystem::path& group) {
  // Listed first: an iterator does not survive that what it is at is removed.
  std::vector<std::filesystem::path> groups{group};
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(group, error)) {
    if (entry.is_directory(error)) groups.push_back(entry.path());
  }
  bool all = true;
  for (auto below = groups.rbegin(); below != groups.rend(); ++below) {
    all = (rmdir(below->c_str()) == 0 || errno == ENOENT) && all;
  }
  return all;
}

}  // namespace homeport::lab
