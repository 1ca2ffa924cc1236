// Clean-up is registered when a thing is created, not when a test remembers to.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace homeport::lab {

/// Steps that undo, run last first. A step that fails is reported on standard error and does not
/// keep the others from running.
class Cleanup {
 public:
  Cleanup() = default;
  Cleanup(const Cleanup&) = delete;
  Cleanup& operator=(const Cleanup&) = delete;
  ~Cleanup() { run(); }

  void add(std::string what, std::function<void()> step);
  void run() noexcept;

 private:
  struct Step {
    std::string what;
    std::function<void()> undo;
  };
  std::vector<Step> steps_;
};

/// Removes a control group and those below it; false when one of them still has processes.
bool remove_control_group(const std::filesystem::path& group);

}  // namespace homeport::lab
