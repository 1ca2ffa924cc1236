#include "agent/control/bindings.h"

#include <algorithm>
#include <utility>

namespace homeport::agent {

void Bindings::insert_or_assign(const std::string& name, Binding binding) {
  if (auto old = by_name_.find(name); old != by_name_.end()) erase(old);
  if (binding.application != name) of_application_[binding.application].insert(name);
  if (!home_.empty() && binding.location == home_) at_home_.insert(name);
  by_name_.emplace(name, std::move(binding));
}

void Bindings::erase(const_iterator binding) {
  if (auto names = of_application_.find(binding->second.application);
      names != of_application_.end()) {
    names->second.erase(binding->first);
    if (names->second.empty()) of_application_.erase(names);
  }
  at_home_.erase(binding->first);
  by_name_.erase(binding);
}

std::vector<const Binding*> Bindings::of(std::string_view application) const {
  std::vector<const Binding*> found;
  auto namesake = by_name_.find(std::string(application));
  if (namesake != by_name_.end() && namesake->second.application == application) {
    found.push_back(&namesake->second);
  }
  auto names = of_application_.find(application);
  if (names == of_application_.end()) return found;
  for (const std::string& name : names->second) found.push_back(&by_name_.at(name));
  std::ranges::sort(found, {},
                    [](const Binding* binding) { return std::string_view(binding->name); });
  return found;
}

std::vector<const Binding*> Bindings::at_home() const {
  std::vector<const Binding*> found;
  for (const std::string& name : at_home_) found.push_back(&by_name_.at(name));
  return found;
}

}  // namespace homeport::agent
