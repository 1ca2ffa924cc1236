// What the operations of ControlDatabase have in common; private to agent/control.
#pragma once

#include "agent/control/database.h"
#include "agent/control/interest.h"
#include "agent/control/read_rows.h"
#include "agent/control/tables.h"

#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace homeport::agent {

using overlay::ovsdb::Transaction;
using overlay::ovsdb::TransactResult;

class ControlDatabase::Impl : public std::enable_shared_from_this<ControlDatabase::Impl> {
 public:
  Impl(boost::asio::any_io_executor executor, DatabaseOptions options);
  void connect_session();
  void close();

  /// What is to be written, judged by the contents: nullopt when there is nothing (left) to do.
  using Plan = std::function<policy::Result<std::optional<Transaction>>(const Contents&)>;
  /// Plans against contents in sync and commits, again after `refused` and `unknown`: `plan` must
  /// be idempotent. Ends with plan's error, the server's refusal, or `timed_out`.
  boost::asio::awaitable<policy::Result<void>> until_done(Plan plan);
  /// One attempt at a conditional transaction over an application's bindings.
  boost::asio::awaitable<policy::Result<Outcome>> write_ownership(std::string application,
                                                                  std::string from, std::string to,
                                                                  policy::Generation generation);
  /// Waits for `duration`, or until the database comes (back) into sync; false when cancelled.
  boost::asio::awaitable<bool> pause(std::chrono::milliseconds duration);

  void on_changes(std::vector<overlay::ovsdb::RowChange> changes, bool more);
  void on_state(bool connected);
  void on_conditions();
  void announce_change();
  /// Asks for the rows that those at hand make a matter of this host.
  void follow_interest();
  void expect(const std::string& application, KnownRows rows);
  bool synced() const { return complete_ && session->synced(); }
  bool settled() const { return synced() && settled_ && read_.settled(); }
  /// Like Session::wait_synced(), for synced().
  boost::asio::awaitable<policy::Result<void>> wait_synced(std::chrono::milliseconds timeout);

  boost::asio::any_io_executor executor;
  DatabaseOptions options;
  Tables tables;
  std::unique_ptr<overlay::ovsdb::Session> session;
  std::function<void()> change_callback;
  std::function<void(bool)> state_callback;
  std::function<std::set<std::string>()> follow_too;
  std::uint64_t disconnections = 0;

 private:
  void tell_state(bool synced);
  void complete();
  /// Reads what is due, and sees to it that what is due later will be.
  void read_on();
  boost::asio::awaitable<void> read(overlay::ovsdb::ReadRequest request);
  void report(const policy::Error& problem);

  std::optional<Interest> interest_;       ///< None: everything is followed.
  overlay::ovsdb::Conditions conditions_;  ///< Asked for; a step to what is wanted.
  overlay::ovsdb::Conditions in_force_;    ///< Those whose rows have been here.
  ReadRows read_{tables};
  Expected expected_;
  boost::asio::steady_timer read_timer_;
  bool settled_ = true;    ///< The rows of conditions_ are here.
  bool complete_ = false;  ///< They have been once, since the start.
  bool closed_ = false;
  bool was_synced_ = false;
  bool change_posted_ = false;
  bool changed_ = false;  ///< Since the last call of change_callback.
  std::set<boost::asio::steady_timer*> pauses_;
};

/// Writes `wanted` where it differs from `existing` (nullptr: inserts all of it). The columns in
/// `only_on_insert` are left alone in a row that exists. nullopt when nothing differs.
template <class Record>
std::optional<Transaction> upsert(const Record* existing, const Record& wanted, std::string comment,
                                  std::initializer_list<std::string_view> only_on_insert = {}) {
  Transaction transaction;
  transaction.comment = std::move(comment);
  auto values = columns(wanted);
  if (!existing) {
    transaction.inserts.push_back({Record::kTable, std::move(values), std::nullopt});
    return transaction;
  }
  for (auto column : only_on_insert) values.erase(column);
  for (const auto& [column, value] : columns(*existing)) {
    auto found = values.find(column);
    if (found != values.end() && found->value() == value) values.erase(found);
  }
  if (values.empty()) return std::nullopt;
  transaction.updates.push_back({Record::kTable, existing->uuid, std::move(values)});
  return transaction;
}

template <class Map, class Key>
auto* find_row(const Map& rows, const Key& key) {
  auto found = rows.find(key);
  return found == rows.end() ? nullptr : &found->second;
}

}  // namespace homeport::agent
