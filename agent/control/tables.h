// Keeps Contents up with the changes that the session reports.
#pragma once

#include "agent/control/database.h"

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::agent {

class Tables {
 public:
  Tables();
  Tables(const Tables&) = delete;
  Tables& operator=(const Tables&) = delete;

  const Contents& contents() const { return contents_; }
  /// Returns the error of a row that does not parse and did not have that same error before.
  const policy::Error* apply(const overlay::ovsdb::RowChange& change);
  /// The tables that are kept: those to monitor.
  std::vector<std::string> names() const;

 private:
  /// Keeps one table in `rows`. A row that takes over the key of another before that one's deletion
  /// is reported stays.
  template <class Rows, class Record, class Key>
  void keep(Rows& rows, Key Record::*key);
  void keep_highest_generation();

  using Apply = std::function<policy::Result<void>(const overlay::ovsdb::RowChange&)>;
  Contents contents_;
  std::map<std::string, Apply, std::less<>> tables_;
};

}  // namespace homeport::agent
