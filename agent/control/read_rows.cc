#include "agent/control/read_rows.h"

#include <boost/json/array.hpp>

#include <algorithm>
#include <utility>

namespace homeport::agent {

namespace json = boost::json;
using overlay::ovsdb::Query;
using overlay::ovsdb::ReadRequest;
using overlay::ovsdb::Row;
using overlay::ovsdb::RowChange;
using namespace std::chrono_literals;

namespace {

/// The pause after a server that was behind, and after one that did not understand.
constexpr std::chrono::milliseconds kPauseWhenBehind{200}, kPauseAfterError{5000};

const char* name_column(const std::string& table) {
  return table == Application::kTable ? "name" : "application";
}

std::string text_of(const Row& row, const char* column) {
  const auto* value = row.columns.if_contains(column);
  const auto* text = value ? value->if_string() : nullptr;
  return text ? std::string(*text) : std::string();
}

template <class Record>
bool is_same(const Row& row, const Record& known) {
  auto record = parse<Record>(row);
  return record && *record == known;
}

}  // namespace

bool ReadRows::Item::settled() const {
  if (!had || (wanted.row && !had->row) || (wanted.bindings && !had->bindings)) return false;
  // Told otherwise since: who told it before may have left out some.
  if (wanted.at != KnownRows() && wanted.at != had->at) return false;
  return std::ranges::includes(had->tasks, wanted.tasks);
}

bool ReadRows::drop(Item& item, const char* table) {
  return std::erase_if(item.rows, [&](const auto& entry) {
           if (table && entry.second != table) return false;
           tables_.apply(RowChange{entry.second, entry.first, {}});
           read_.erase(entry.first);
           return true;
         }) > 0;
}

bool ReadRows::want(const Readings& wanted) {
  bool changed = false;
  for (auto it = items_.begin(); it != items_.end();) {
    if (wanted.contains(it->first)) {
      ++it;
    } else {
      changed = drop(it->second) || changed;
      it = items_.erase(it);
    }
  }
  for (const auto& [name, reading] : wanted) {
    Item& item = items_[name];
    item.wanted = reading;
    if (!reading.row) changed = drop(item, Application::kTable) || changed;
    if (!reading.bindings) changed = drop(item, Binding::kTable) || changed;
    // It was there, and is gone: there may be another of that name.
    if (item.again == Clock::time_point::max() && is_missing(name, item)) {
      item.again = Clock::time_point::min();
    }
  }
  return changed;
}

void ReadRows::monitored(const RowChange& change) {
  if (read_.erase(change.uuid) == 0) return;
  for (auto& [name, item] : items_) item.rows.erase(change.uuid);
}

bool ReadRows::is_missing(const std::string& name, const Item& item) const {
  return item.wanted.row && !tables_.contents().applications.contains(name);
}

bool ReadRows::is_monitored(const std::string& table, const Row& row) const {
  if (read_.contains(row.uuid)) return false;
  const Contents& contents = tables_.contents();
  if (contents.problems.contains({table, row.uuid})) return true;
  const std::string name = text_of(row, "name");
  if (table == Application::kTable) {
    auto found = contents.applications.find(name);
    return found != contents.applications.end() && found->second.uuid == row.uuid;
  }
  auto found = contents.bindings.find(name);
  return found != contents.bindings.end() && found->second.uuid == row.uuid;
}

bool ReadRows::is_as_known(const std::string& table, const Row& row) const {
  const Contents& contents = tables_.contents();
  const std::string name = text_of(row, "name");
  if (table == Application::kTable) {
    auto found = contents.applications.find(name);
    return found != contents.applications.end() && is_same(row, found->second);
  }
  auto found = contents.bindings.find(name);
  return found != contents.bindings.end() && is_same(row, found->second);
}

std::size_t ReadRows::ask(const std::string& name, const Item& item) {
  std::size_t searches = 0;
  bool row_known = false;
  const KnownRows& at = item.wanted.at;
  const bool look = at != item.tried;  // no search yet
  const bool by_rows = look && !at.bindings.empty();
  for (const auto& [uuid, table] : item.rows) {
    row_known = row_known || table == Application::kTable;
    // What is asked for its bindings below finds those, too.
    if (table == Binding::kTable && !item.settled() &&
        (!by_rows || std::ranges::count(at.bindings, uuid) > 0)) {
      continue;
    }
    parts_.push_back({name, table, uuid, item.wanted});
  }
  // A row that is monitored needs no reading.
  if (!row_known && is_missing(name, item)) {
    const auto row = look ? at.application : std::nullopt;
    parts_.push_back({name, Application::kTable, row, item.wanted});
    if (!row) ++searches;
  }
  if (item.wanted.bindings && !item.settled()) {
    if (by_rows) {
      for (const Uuid& row : at.bindings) {
        parts_.push_back({name, Binding::kTable, row, item.wanted});
      }
    } else {
      parts_.push_back({name, Binding::kTable, {}, item.wanted});
      ++searches;
    }
  }
  return searches;
}

bool ReadRows::found_where_told(const std::string& name, const Item& item) const {
  const KnownRows& at = item.wanted.at;
  if (at.application && is_missing(name, item)) return false;
  if (!item.wanted.bindings) return true;
  const auto bindings = tables_.contents().bindings_of(name);
  return std::ranges::all_of(at.bindings, [&](const Uuid& row) {
    return std::ranges::count(bindings, row, &Binding::uuid) > 0;
  });
}

std::optional<ReadRequest> ReadRows::next(Clock::time_point now) {
  if (under_way() || due() > now) return std::nullopt;
  ReadRequest request;
  std::size_t searches = 0;
  for (auto& [name, item] : items_) {
    const bool searching = !item.settled() || is_missing(name, item);
    // What is due soon is read along: the connection costs more. A search does not come before its
    // time.
    if (item.settled() && now + (searching ? 0s : kReadAgain / 2) < item.again) continue;
    if (searching && searches >= kSearchesAtOnce) continue;
    const std::size_t before = parts_.size();
    searches += ask(name, item);
    if (parts_.size() == before) {
      // All of it is monitored.
      item.had = item.wanted;
      item.again = Clock::time_point::max();
      continue;
    }
    if (item.settled()) continue;
    // A server that does not know where the application is may not know the application.
    for (const Binding* binding : tables_.contents().bindings_of(name)) {
      request.known.push_back({Binding::kTable, binding->uuid, "generation",
                               static_cast<std::int64_t>(binding->generation)});
    }
  }
  if (parts_.empty()) return std::nullopt;
  for (const Part& part : parts_) {
    Query query{part.table, {}};
    if (part.uuid) {
      query.where.push_back({"_uuid", "==", json::array{"uuid", to_string(*part.uuid)}});
    } else {
      query.where.push_back({name_column(part.table), "==", json::value(part.application)});
    }
    request.queries.push_back(std::move(query));
  }
  return request;
}

void ReadRows::take_one(const Part& part, const std::vector<Row>& rows, Item& item,
                        const std::function<void(const policy::Error&)>& problem, bool& changed) {
  std::set<Uuid> here;
  for (const Row& row : rows) {
    // A row that was found by its UUID may have got another name.
    if (text_of(row, name_column(part.table)) != part.application) continue;
    if (is_monitored(part.table, row)) continue;
    here.insert(row.uuid);
    item.rows.emplace(row.uuid, part.table);
    read_.insert(row.uuid);
    if (is_as_known(part.table, row)) continue;
    if (const auto* error = tables_.apply({part.table, row.uuid, row})) problem(*error);
    changed = true;
  }
  const auto gone = std::erase_if(item.rows, [&](const auto& entry) {
    const auto& [uuid, table] = entry;
    const bool asked = part.uuid ? uuid == *part.uuid : table == part.table;
    if (!asked || here.contains(uuid)) return false;
    tables_.apply(RowChange{table, uuid, {}});
    read_.erase(uuid);
    return true;
  });
  changed = changed || gone > 0;
}

bool ReadRows::take(const policy::Result<overlay::ovsdb::Answers>& answers, Clock::time_point now,
                    const std::function<void(const policy::Error&)>& problem) {
  const auto parts = std::exchange(parts_, {});
  if (!answers || answers->size() != parts.size()) {
    const bool soon =
        !answers && answers.error().code == boost::system::errc::resource_unavailable_try_again;
    not_before_ = now + (soon ? kPauseWhenBehind : kPauseAfterError);
    return false;
  }
  bool changed = false;
  std::set<std::string> read;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto found = items_.find(parts[i].application);
    if (found == items_.end()) continue;  // not wanted any more
    take_one(parts[i], (*answers)[i], found->second, problem, changed);
    found->second.had = parts[i].wanted;
    read.insert(parts[i].application);
  }
  for (const std::string& name : read) {
    Item& item = items_.at(name);
    if (item.had->at == item.wanted.at && item.wanted.at != item.tried &&
        !found_where_told(name, item)) {
      item.tried = item.wanted.at;
      item.had.reset();
    } else if (is_missing(name, item)) {
      item.again = now + item.pause;
      item.pause = std::min(2 * item.pause, kReadAgain);
    } else {
      item.again = item.rows.empty() ? Clock::time_point::max() : now + kReadAgain;
      item.pause = kLookAgain;
    }
  }
  return changed;
}

ReadRows::Clock::time_point ReadRows::due() const {
  auto due = Clock::time_point::max();
  for (const auto& [name, item] : items_) {
    due = std::min(due, item.settled() ? item.again : Clock::time_point::min());
  }
  return due == Clock::time_point::max() ? due : std::max(due, not_before_);
}

bool ReadRows::settled() const {
  return std::ranges::all_of(items_, [](const auto& entry) { return entry.second.settled(); });
}

}  // namespace homeport::agent
