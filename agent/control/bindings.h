// The bindings of the control database by name, by application, and those of one host.
#pragma once

#include "agent/control/records.h"

#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
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

  /// The host whose bindings at_home() lists. Set while there is no binding yet.
  void set_home(std::string host) { home_ = std::move(host); }
  /// Those located at that host, in the order of their names.
  std::vector<const Binding*> at_home() const;

 private:
  Map by_name_;
  /// Names of those that are not called as their application, as most are: an index of all would
  /// take as much memory again as what it leads to.
  std::map<std::string, std::set<std::string>, std::less<>> of_application_;
  std::string home_;
  std::set<std::string> at_home_;  ///< Names.
};

}  // namespace homeport::agent
