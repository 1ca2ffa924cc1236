// The part of a Session that lives on the OVS thread: the IDL's replica, what is still to be told
// about it, and the transactions on their way.
#pragma once

#include "overlay/ovsdb/leader_first.h"
#include "overlay/ovsdb/session.h"
#include "overlay/ovsdb/thread.h"

#include <boost/functional/hash.hpp>
#include <boost/unordered/unordered_flat_set.hpp>
#include <boost/uuid/uuid_hash.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

struct hp_session;
struct hp_txn;

namespace homeport::overlay::ovsdb {

class Replica : public LoopClient {
 public:
  using TransactionId = std::uint64_t;

  /// Called on the OVS thread; each passes on and returns at once.
  struct Events {
    std::function<void(std::vector<RowChange>, bool more)> changes;
    std::function<void(bool synced)> state;
    std::function<void(TransactionId, policy::Result<TransactResult>)> outcome;
    /// Everything that the conditions of that number ask for has been told.
    std::function<void(std::uint64_t number)> conditions;
  };

  /// On the OVS thread. Throws boost::system::system_error for tables or conditions that the schema
  /// does not have.
  Replica(const SessionOptions& options, Events events);
  ~Replica() override;

  void connect(const std::string& remotes);
  void transact(TransactionId id, const Transaction& transaction);
  /// Wrong ones are logged, and leave the table as it was.
  void set_conditions(std::uint64_t number, const Conditions& conditions);
  /// A slice has been taken in. More than kSlicesUnderWay are under way only by rows that
  /// transactions name.
  void acknowledge_slice();

  bool run() override;
  void wait() override;
  void close() override;

 private:
  /// The table's name is the schema's own and lives as long as the program.
  using Key = std::pair<std::string_view, std::string>;
  struct Outstanding {
    hp_txn* txn;
    std::vector<Key> named;  ///< Rows to deliver ahead of the outcome.
    std::vector<std::string_view> insert_tables;
  };
  static constexpr std::size_t kSlicesUnderWay = 4;

  static void note_change(void* self, const char* table, const char* uuid);
  RowChange read_row(const Key& key);
  /// Notes the rows that are gone without the library having said so.
  void find_gone();
  void deliver_slice();
  /// True while the server has not answered to it.
  bool send_condition(const std::string& table, const std::string& clauses, std::string& problem);
  void poll_conditions();
  void choose_server(bool in_sync);
  void poll_transactions();
  /// True when it is over, and told.
  bool poll(TransactionId id, Outstanding& transaction);

  hp_session* session_;
  Events events_;
  std::size_t slice_rows_;
  LeaderFirst server_;
  std::vector<std::string> tables_;                ///< Monitored.
  std::map<std::string, std::string> conditions_;  ///< The clauses of each of them, as JSON.
  std::uint64_t conditions_number_ = 0;
  bool conditions_told_ = true;
  std::set<std::string> unanswered_;   ///< Tables of which the condition may not be in force.
  std::optional<unsigned> polled_at_;  ///< The library's number of its conditions then.
  bool announced_ = false;             ///< The last state told.
  bool compared_ = false;              ///< find_gone(), since the last connection.
  /// The rows that have been told and not been told to be gone, by table.
  std::map<std::string_view, boost::unordered_flat_set<Uuid, boost::hash<Uuid>>> told_;
  std::size_t slices_under_way_ = 0;
  // Rows that changed and have not been told: bounded by the rows there are, since a row waits at
  // most once and is read when its turn comes. The set rules; the queue may name rows told since.
  std::deque<Key> queue_;
  std::unordered_set<Key, boost::hash<Key>> pending_;
  std::map<TransactionId, Outstanding> outstanding_;
};

}  // namespace homeport::overlay::ovsdb
