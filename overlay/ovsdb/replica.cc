#include "overlay/ovsdb/replica.h"

#include "overlay/log/log.h"
#include "overlay/ovsdb/shim.h"

#include <fmt/format.h>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/uuid/string_generator.hpp>
#include <boost/uuid/uuid_io.hpp>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <utility>

namespace homeport::overlay::ovsdb {

namespace json = boost::json;
namespace errc = boost::system::errc;

namespace {

struct Free {
  void operator()(char* text) const { std::free(text); }
};
using CString = std::unique_ptr<char, Free>;

[[noreturn]] void refuse_options(const std::string& message) {
  throw boost::system::system_error(errc::make_error_code(errc::invalid_argument), message);
}

std::string clauses_text(const std::vector<Clause>& clauses) {
  json::array array;
  for (const auto& clause : clauses) {
    array.push_back(json::array{clause.column, clause.function, clause.value});
  }
  return json::serialize(array);
}

std::string_view schema_name(const std::string& table) {
  for (std::size_t i = 0; i < hp_schema_tables(); ++i) {
    if (table == hp_schema_table(i)) return hp_schema_table(i);
  }
  return {};
}

/// The server says why as {"error": "constraint violation", "details": "..."}.
std::string server_message(const char* text) {
  boost::system::error_code error;
  auto value = json::parse(text, error);
  if (error || !value.is_object()) return fmt::format("the database server says: {}", text);
  auto field = [&](const char* name) {
    auto* found = value.get_object().if_contains(name);
    return found && found->is_string() ? std::string(found->get_string()) : std::string();
  };
  auto details = field("details");
  return fmt::format("the database server says: {}{}{}", field("error"),
                     details.empty() ? "" : ": ", details);
}

/// Describes `transaction` to the shim, up to the first step that cannot be.
hp_step describe(hp_txn* txn, const Transaction& transaction, std::string& message) {
  char* why = nullptr;
  hp_step step = HP_STEP_OK;
  auto go_on = [&](hp_step result) {
    step = result;
    if (why) message = CString(std::exchange(why, nullptr)).get();
    return step == HP_STEP_OK;
  };
  for (const auto& it : transaction.expectations) {
    if (!go_on(hp_txn_expect(txn, it.table.c_str(), to_string(it.uuid).c_str(), it.column.c_str(),
                             json::serialize(it.value).c_str(), &why))) {
      return step;
    }
  }
  for (const auto& it : transaction.updates) {
    if (!go_on(hp_txn_update(txn, it.table.c_str(), to_string(it.uuid).c_str(),
                             json::serialize(it.columns).c_str(), &why))) {
      return step;
    }
  }
  for (const auto& it : transaction.map_edits) {
    auto uuid = to_string(it.uuid);
    for (const auto& [key, value] : it.set) {
      if (!go_on(hp_txn_edit_map(txn, it.table.c_str(), uuid.c_str(), it.column.c_str(),
                                 key.c_str(), value.c_str(), &why))) {
        return step;
      }
    }
    for (const auto& key : it.erase) {
      if (!go_on(hp_txn_edit_map(txn, it.table.c_str(), uuid.c_str(), it.column.c_str(),
                                 key.c_str(), nullptr, &why))) {
        return step;
      }
    }
  }
  for (const auto& it : transaction.deletes) {
    if (!go_on(hp_txn_delete(txn, it.table.c_str(), to_string(it.uuid).c_str(), &why))) return step;
  }
  for (const auto& it : transaction.inserts) {
    std::string uuid = it.uuid ? to_string(*it.uuid) : std::string();
    if (!go_on(hp_txn_insert(txn, it.table.c_str(), it.uuid ? uuid.c_str() : nullptr,
                             json::serialize(it.columns).c_str(), &why))) {
      return step;
    }
  }
  return HP_STEP_OK;
}

policy::Error not_connected() {
  return policy::make_error(errc::not_connected,
                            "there is no connection to the control database now: nothing was sent");
}

}  // namespace

Replica::Replica(const SessionOptions& options, Events events)
    : session_(hp_session_create(static_cast<int>(options.probe_interval.count()))),
      events_(std::move(events)),
      slice_rows_(std::max<std::size_t>(options.slice_rows, 1)),
      server_(options.remotes.find(',') != std::string::npos, LeaderFirst::Clock::now(),
              std::random_device{}()) {
  hp_session_set_leader_only(session_, server_.leader_only());
  tables_ = options.tables;
  for (std::size_t i = 0; options.tables.empty() && i < hp_schema_tables(); ++i) {
    tables_.emplace_back(hp_schema_table(i));
  }
  std::string problem;
  for (const auto& table : tables_) {
    if (!hp_session_monitor(session_, table.c_str())) {
      problem = fmt::format("the schema has no table \"{}\" to monitor", table);
    }
  }
  for (const auto& [table, clauses] : options.conditions) {
    conditions_[table] = clauses_text(clauses);
    send_condition(table, conditions_[table], problem);
  }
  if (problem.empty()) return;
  hp_session_destroy(session_);
  refuse_options(problem);
}

Replica::~Replica() = default;

void Replica::close() {
  for (auto& [id, transaction] : outstanding_) hp_txn_destroy(transaction.txn);
  outstanding_.clear();
  hp_session_destroy(session_);
  session_ = nullptr;
}

void Replica::connect(const std::string& remotes) {
  hp_session_connect(session_, remotes.c_str());
}

bool Replica::send_condition(const std::string& table, const std::string& clauses,
                             std::string& problem) {
  bool waits = false;
  CString why(hp_session_set_condition(session_, table.c_str(), clauses.c_str(), &waits));
  if (why) problem = fmt::format("the condition for table {} is wrong: {}", table, why.get());
  return waits;
}

void Replica::set_conditions(std::uint64_t number, const Conditions& conditions) {
  std::string problem;
  for (const auto& table : tables_) {
    auto clauses = conditions.find(table);
    std::string text = clauses == conditions.end() ? "[true]" : clauses_text(clauses->second);
    if (std::exchange(conditions_[table], text) == text) continue;
    if (send_condition(table, text, problem)) unanswered_.insert(table);
  }
  conditions_number_ = number;
  conditions_told_ = false;
  if (!problem.empty()) log::error("control database: {}", problem);
}

/// What the library numbers its conditions by does not go through a reconnection as one would
/// think. Asking for them again costs the server nothing and says whether they are in force; it is
/// worth asking when that number is another, or after a reconnection.
void Replica::poll_conditions() {
  if (conditions_told_ || !pending_.empty()) return;
  const unsigned number = hp_session_condition_number(session_);
  if (polled_at_ == number && !unanswered_.empty()) return;
  polled_at_ = number;
  std::string problem;
  std::erase_if(unanswered_, [&](const std::string& table) {
    return !send_condition(table, conditions_.at(table), problem);
  });
  if (!unanswered_.empty()) return;
  conditions_told_ = true;
  events_.conditions(conditions_number_);
}

void Replica::note_change(void* self, const char* table, const char* uuid) {
  auto* replica = static_cast<Replica*>(self);
  Key key(table, uuid);
  if (replica->pending_.insert(key).second) replica->queue_.push_back(std::move(key));
}

/// When a server does not know where this replica left off, the library empties the replica and
/// fills it anew, and does not tell of rows that do not come again.
void Replica::find_gone() {
  for (const auto& [table, uuids] : told_) {
    for (const Uuid& uuid : uuids) {
      const std::string text = to_string(uuid);
      if (!hp_session_has_row(session_, table.data(), text.c_str())) {
        note_change(this, table.data(), text.c_str());
      }
    }
  }
}

RowChange Replica::read_row(const Key& key) {
  RowChange change{std::string(key.first), boost::uuids::string_generator()(key.second), {}};
  CString text(hp_session_row(session_, key.first.data(), key.second.c_str()));
  if (text) {
    change.row = Row{change.uuid, json::parse(text.get()).get_object()};
    told_[key.first].insert(change.uuid);
  } else {
    told_[key.first].erase(change.uuid);
  }
  return change;
}

void Replica::deliver_slice() {
  std::vector<RowChange> changes;
  while (!queue_.empty() && changes.size() < slice_rows_) {
    if (pending_.erase(queue_.front()) > 0) changes.push_back(read_row(queue_.front()));
    queue_.pop_front();
  }
  if (changes.empty()) return;
  ++slices_under_way_;
  events_.changes(std::move(changes), !pending_.empty());
}

void Replica::acknowledge_slice() {
  --slices_under_way_;
}

void Replica::choose_server(bool in_sync) {
  const bool before = server_.leader_only();
  server_.look(in_sync, LeaderFirst::Clock::now());
  if (server_.leader_only() == before) return;
  if (before) {
    log::info(
        "control database: no server that leads is to be reached, so any serves: a relay, or "
        "another of the cluster");
  }
  hp_session_set_leader_only(session_, server_.leader_only());
}

bool Replica::run() {
  hp_session_run(session_, note_change, this);
  bool in_sync = hp_session_in_sync(session_);
  if (in_sync && !compared_) find_gone();
  if (in_sync && !compared_) {
    polled_at_.reset();
    for (const auto& [table, clauses] : conditions_) unanswered_.insert(table);
  }
  compared_ = in_sync;
  choose_server(in_sync);
  if (!in_sync && announced_) {
    announced_ = false;
    events_.state(false);
  }
  poll_transactions();
  if (slices_under_way_ < kSlicesUnderWay) deliver_slice();
  if (in_sync && !announced_ && pending_.empty()) {
    announced_ = true;
    events_.state(true);
  }
  if (in_sync) poll_conditions();
  // With enough slices under way, the next acknowledgement wakes the thread.
  return !pending_.empty() && slices_under_way_ < kSlicesUnderWay;
}

void Replica::wait() {
  hp_session_wait(session_);
  if (const auto again = server_.again(); again != LeaderFirst::Time::max()) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(again - LeaderFirst::Clock::now());
    hp_ovs_wake_in(static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
  }
  for (auto& [id, transaction] : outstanding_) hp_txn_wait(transaction.txn);
}

void Replica::transact(TransactionId id, const Transaction& transaction) {
  if (!hp_session_in_sync(session_)) return events_.outcome(id, not_connected());
  hp_txn* txn = hp_txn_create(session_, transaction.comment.c_str());
  std::string message;
  hp_step step = describe(txn, transaction, message);
  if (step != HP_STEP_OK) {
    hp_txn_destroy(txn);
    if (step == HP_STEP_REFUSED) {
      return events_.outcome(id, TransactResult{Outcome::refused, std::move(message), {}});
    }
    return events_.outcome(id, policy::make_error(errc::invalid_argument, std::move(message)));
  }
  Outstanding outstanding{txn, {}, {}};
  auto name_row = [&](const std::string& table, const Uuid& uuid) {
    outstanding.named.emplace_back(schema_name(table), to_string(uuid));
  };
  for (const auto& it : transaction.expectations) name_row(it.table, it.uuid);
  for (const auto& it : transaction.updates) name_row(it.table, it.uuid);
  for (const auto& it : transaction.map_edits) name_row(it.table, it.uuid);
  for (const auto& it : transaction.deletes) name_row(it.table, it.uuid);
  for (const auto& it : transaction.inserts) {
    outstanding.insert_tables.push_back(schema_name(it.table));
  }
  std::sort(outstanding.named.begin(), outstanding.named.end());
  outstanding.named.erase(std::unique(outstanding.named.begin(), outstanding.named.end()),
                          outstanding.named.end());
  auto place = outstanding_.emplace(id, std::move(outstanding)).first;
  if (poll(id, place->second)) outstanding_.erase(place);
}

bool Replica::poll(TransactionId id, Outstanding& transaction) {
  char* text = nullptr;
  auto state = hp_txn_commit(transaction.txn, &text);
  CString message(text);
  if (state == HP_TXN_INCOMPLETE) return false;
  if (state == HP_TXN_NOT_SENT) {
    hp_txn_destroy(transaction.txn);
    events_.outcome(id, not_connected());
    return true;
  }
  TransactResult result;
  switch (state) {
    case HP_TXN_COMMITTED:
      result.outcome = Outcome::committed;
      for (std::size_t i = 0; i < transaction.insert_tables.size(); ++i) {
        char uuid[HP_UUID_LENGTH + 1];
        hp_txn_inserted(transaction.txn, i, uuid);
        result.inserted.push_back(boost::uuids::string_generator()(uuid));
        transaction.named.emplace_back(transaction.insert_tables[i], uuid);
      }
      break;
    case HP_TXN_FAILED:
      result.outcome = Outcome::failed;
      result.message = server_message(message.get());
      break;
    default:
      result.outcome = Outcome::unknown;
      result.message =
          "the connection to the control database was lost before it answered, or it has newer "
          "contents than those the transaction was based on: read again";
  }
  hp_txn_destroy(transaction.txn);
  std::vector<RowChange> named;
  for (const auto& key : transaction.named) {
    if (pending_.erase(key) > 0) named.push_back(read_row(key));
  }
  if (!named.empty()) {
    ++slices_under_way_;
    events_.changes(std::move(named), !pending_.empty());
  }
  events_.outcome(id, std::move(result));
  return true;
}

void Replica::poll_transactions() {
  for (auto it = outstanding_.begin(); it != outstanding_.end();) {
    it = poll(it->first, it->second) ? outstanding_.erase(it) : std::next(it);
  }
}

}  // namespace homeport::overlay::ovsdb
