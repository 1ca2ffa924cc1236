#include "agent/control/bindings.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace homeport::agent {

void Bindings::insert_or_assign(const std::string& name, Binding binding) {
  if (auto old = find(name); old != end()) erase(old);
  if (binding.application != name) of_application_[binding.application].insert(name);
  if (!home_.empty() && binding.location == home_) at_home_.insert(name);
  by_name_.insert(std::move(binding));
}

void Bindings::erase(const_iterator binding) {
  const Binding& row = *binding.at_;
  if (auto names = of_application_.find(row.application); names != of_application_.end()) {
    names->second.erase(row.name);
    if (names->second.empty()) of_application_.erase(names);
  }
  at_home_.erase(row.name);
  by_name_.erase(binding.at_);
}

const Binding& Bindings::at(std::string_view name) const {
  auto found = by_name_.find(name);
  if (found == by_name_.end()) throw std::out_of_range("no binding of that name");
  return *found;
}

std::vector<const Binding*> Bindings::of(std::string_view application) const {
  std::vector<const Binding*> found;
  auto namesake = by_name_.find(application);
  if (namesake != by_name_.end() && namesake->application == application) {
    found.push_back(&*namesake);
  }
  auto names = of_application_.find(application);
  if (names == of_application_.end()) return found;
  for (const std::string& name : names->second) found.push_back(&at(name));
  std::ranges::sort(found, {},
                    [](const Binding* binding) { return std::string_view(binding->name); });
  return found;
}

std::vector<const Binding*> Bindings::at_home() const {
  std::vector<const Binding*> found;
  for (const std::string& name : at_home_) found.push_back(&at(name));
  return found;
}

}  // namespace homeport::agent
