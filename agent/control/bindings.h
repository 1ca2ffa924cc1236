// The bindings of the control database by name, and by application.
#pragma once

#include "agent/control/records.h"

#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::agent {

/// A map by name that can be asked for the bindings of one application without a walk over those
/// of all: whose an application is, is asked for each of them on every change. A binding in here is
/// not changed but replaced.
class Bindings {
  using Map = std::map<std::string, Binding>;

 public:
  using mapped_type = Binding;
  using const_iterator = Map::const_iterator;

  const_iterator begin() const { return by_name_.begin(); }
  const_iterator end() const { return by_name_.end(); }
  const_iterator find(const std::string& name) const { return by_name_.find(name); }
  const Binding& at(const std::string& name) const { return by_name_.at(name); }
  bool contains(const std::string& name) const { return by_name_.contains(name); }
  std::size_t size() const { return by_name_.size(); }

  /// `name` is the binding's own.
  void insert_or_assign(const std::string& name, Binding binding);
  void erase(const_iterator binding);

  /// In the order of their names.
  std::vector<const Binding*> of(std::string_view application) const;

 private:
  Map by_name_;
  std::map<std::string, std::set<std::string>, std::less<>> of_application_;  ///< Names.
};

}  // namespace homeport::agent
