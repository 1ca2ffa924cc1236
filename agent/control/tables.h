// Keeps Contents up with the changes that the session reports.
#pragma once

#include "agent/control/database.h"

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace homeport::agent {

class Tables {
 public:
  Tables();
  Tables(const Tables&) = delete;
  Tables& operator=(const Tables&) = delete;

  const Contents& contents() const { return contents_; }
  /// See Bindings::set_home().
  void set_home(std::string host) { contents_.bindings.set_home(std::move(host)); }
  /// Since forget_changes(); all of them before it was first called.
  const Changes& changes() const { return changes_; }
  void forget_changes();
  /// Returns the error of a row that does not parse, or not all of it, and did not have that same
  /// error before.
  const policy::Error* apply(const overlay::ovsdb::RowChange& change);
  /// The tables that are kept: those to monitor.
  std::vector<std::string> names() const;

 private:
  /// Keeps one table in `rows`. A row that takes over the key of another before that one's deletion
  /// is reported stays.
  template <class Rows, class Record, class Key>
  void keep(Rows& rows, Key Record::*key);
  /// An error where more than that has been seen of the row before. `known`: what is here of it.
  policy::Result<void> compare_with_seen(const Binding& binding, const Binding* known) const;
  template <class Record>
  policy::Result<void> compare_with_seen(const Record&, const Record*) const {
    return {};
  }
  /// Its row exists, or its end is being told: then seen_ is cleared of it.
  void forget(const Binding& binding) { seen_[binding.uuid] = binding.generation; }
  template <class Record>
  void forget(const Record&) {}
  void note(const Binding& binding, const Binding* before);
  void note(const Application& application, const Application* before);
  template <class Record>
  void note(const Record&, const Record*) {}

  using Apply = std::function<policy::Result<void>(const overlay::ovsdb::RowChange&)>;
  Contents contents_;
  Changes changes_;
  /// The generations of bindings that are not in `contents_` although their rows exist.
  std::map<Uuid, policy::Generation> seen_;
  std::map<std::string, Apply, std::less<>> tables_;
};

}  // namespace homeport::agent
