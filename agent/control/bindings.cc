#include "agent/control/bindings.h"

#include <utility>

namespace homeport::agent {

void Bindings::insert_or_assign(const std::string& name, Binding binding) {
  if (auto old = by_name_.find(name); old != by_name_.end()) erase(old);
  of_application_[binding.application].insert(name);
  by_name_.emplace(name, std::move(binding));
}

void Bindings::erase(const_iterator binding) {
  auto names = of_application_.find(binding->second.application);
  names->second.erase(binding->first);
  if (names->second.empty()) of_application_.erase(names);
  by_name_.erase(binding);
}

std::vector<const Binding*> Bindings::of(std::string_view application) const {
  std::vector<const Binding*> found;
  auto names = of_application_.find(application);
  if (names == of_application_.end()) return found;
  for (const std::string& name : names->second) found.push_back(&by_name_.at(name));
  return found;
}

}  // namespace homeport::agent
