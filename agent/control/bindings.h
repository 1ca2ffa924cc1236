// The bindings of the control database by name, by application, and those of one host.
#pragma once

#include "agent/control/records.h"

#include <cstddef>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace homeport::agent {

/// By name, as a map, that can be asked for the bindings of one application without a walk over
/// those of all: whose an application is, is asked for each of them on every change. A binding in
/// here is not changed but replaced.
class Bindings {
  struct ByName {
    using is_transparent = void;
    static std::string_view name(const Binding& binding) { return binding.name; }
    static std::string_view name(std::string_view text) { return text; }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return name(a) < name(b);
    }
  };
  using Set = std::set<Binding, ByName>;

 public:
  using mapped_type = Binding;

  /// Shows a binding as a map's entry, without another copy of its name.
  class const_iterator {
   public:
    using value_type = std::pair<const std::string&, const Binding&>;
    using reference = value_type;
    struct pointer {
      value_type entry;
      const value_type* operator->() const { return &entry; }
    };
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    const_iterator() = default;
    value_type operator*() const { return {at_->name, *at_}; }
    pointer operator->() const { return {**this}; }
    const_iterator& operator++() {
      ++at_;
      return *this;
    }
    const_iterator operator++(int) { return const_iterator(at_++); }
    bool operator==(const const_iterator&) const = default;

   private:
    friend class Bindings;
    explicit const_iterator(Set::const_iterator at) : at_(at) {}
    Set::const_iterator at_;
  };

  const_iterator begin() const { return const_iterator(by_name_.begin()); }
  const_iterator end() const { return const_iterator(by_name_.end()); }
  const_iterator find(std::string_view name) const { return const_iterator(by_name_.find(name)); }
  /// Throws std::out_of_range when there is none of that name.
  const Binding& at(std::string_view name) const;
  bool contains(std::string_view name) const { return by_name_.contains(name); }
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
  Set by_name_;
  /// Names of those that are not called as their application, as most are: an index of all would
  /// take as much memory again as what it leads to.
  std::map<std::string, std::set<std::string>, std::less<>> of_application_;
  std::string home_;
  std::set<std::string> at_home_;  ///< Names.
};

}  // namespace homeport::agent
