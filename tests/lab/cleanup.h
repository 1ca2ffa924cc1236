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

/// "hp-PID-WHAT" with this process's number: the name of what would outlive a lab that is killed.
std::string own_name(const std::string& what);
/// Whether `name` is such a name, of a process that no longer exists.
bool is_abandoned(const std::string& name);

/// Removes a control group and those below it; false when one of them still has processes.
bool remove_control_group(const std::filesystem::path& group);

}  // namespace homeport::lab
