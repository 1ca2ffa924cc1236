#include "tests/lab/cleanup.h"

#include <exception>
#include <iostream>
#include <utility>

namespace homeport::lab {

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

}  // namespace homeport::lab
