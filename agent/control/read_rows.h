// Rows that are read because no condition asks for them (interest.h): which to read and when, and
// the keeping of what was read beside what is monitored. Pure: whoever has the session reads.
#pragma once

#include "agent/control/interest.h"
#include "agent/control/tables.h"
#include "overlay/ovsdb/session.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace homeport::agent {

/// What is read is read again so often, all in one request: a controller may have changed it. By
/// UUIDs, which costs the server next to nothing; the connection costs it more.
inline constexpr std::chrono::seconds kReadAgain{60};
/// What is not there is looked for again, with pauses from this to that.
inline constexpr std::chrono::seconds kLookAgain{1};
/// Rows looked for by name in one request. Each of them costs the server a look at the whole table,
/// during which it does nothing else.
inline constexpr std::size_t kSearchesAtOnce = 4;

class ReadRows {
 public:
  using Clock = std::chrono::steady_clock;

  /// What is read goes into `tables` as what is monitored does.
  explicit ReadRows(Tables& tables) : tables_(tables) {}

  /// Takes the place of all readings before. What is not wanted any more goes from the tables,
  /// unless it is monitored; true if something did.
  bool want(const Readings& wanted);
  /// To be called before a change that the session reports is applied: from there on the row is
  /// monitored.
  void monitored(const overlay::ovsdb::RowChange& change);
  /// What is to be read now, if anything; take() has to follow. nullopt while one is
  /// under way.
  std::optional<overlay::ovsdb::ReadRequest> next(Clock::time_point now);
  /// The answer to it; true if the tables have changed. The errors of rows that do not parse go to
  /// `problem`.
  bool take(const policy::Result<overlay::ovsdb::Answers>& answers, Clock::time_point now,
            const std::function<void(const policy::Error&)>& problem);
  bool under_way() const { return !parts_.empty(); }
  /// When next() has something, unless one is under way; time_point::max() for never.
  Clock::time_point due() const;
  /// All that is wanted has been read; what is not there, too.
  bool settled() const;

 private:
  struct Item {
    Reading wanted;
    std::optional<Reading> had;        ///< What the last answer was for.
    std::map<Uuid, std::string> rows;  ///< Read and not monitored, with their tables.
    Clock::time_point again = Clock::time_point::min();
    std::chrono::seconds pause = kLookAgain;
    KnownRows tried = {};  ///< Where it was looked for, and not all of it found.

    bool settled() const;
  };
  /// One query, and whose.
  struct Part {
    std::string application, table;
    std::optional<Uuid> uuid;  ///< nullopt: by the application's name.
    Reading wanted;
  };

  /// Appends what there is to read of one application; how many of it are searches.
  std::size_t ask(const std::string& name, const Item& item);
  /// What was told of its rows is right: all of them are at hand.
  bool found_where_told(const std::string& name, const Item& item) const;
  bool is_monitored(const std::string& table, const overlay::ovsdb::Row& row) const;
  bool is_as_known(const std::string& table, const overlay::ovsdb::Row& row) const;
  bool is_missing(const std::string& name, const Item& item) const;
  /// Forgets what was read of it, or of one of its tables; true if there was any.
  bool drop(Item& item, const char* table = nullptr);
  void take_one(const Part& part, const std::vector<overlay::ovsdb::Row>& rows, Item& item,
                const std::function<void(const policy::Error&)>& problem, bool& changed);

  Tables& tables_;
  std::map<std::string, Item> items_;
  std::set<Uuid> read_;      ///< The rows of all items.
  std::vector<Part> parts_;  ///< Of the request under way.
  Clock::time_point not_before_ = Clock::time_point::min();
};

}  // namespace homeport::agent
