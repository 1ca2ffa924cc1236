// A session that notes what it reports, and transactions on the table Storage to try it with.
#pragma once

#include "overlay/ovsdb/session.h"
#include "tests/unit/overlay/ovsdb/test_server.h"

#include <gtest/gtest.h>
#include <boost/json/array.hpp>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace homeport::overlay::ovsdb {

/// A session and what it has reported.
struct Observer {
  Observer(boost::asio::io_context& io, SessionOptions options)
      : changed(io), session(io.get_executor(), std::move(options)) {
    session.set_on_changes([this](std::vector<RowChange> changes, bool more_follows) {
      for (auto& change : changes) {
        if (change.row) {
          rows[change.table].insert_or_assign(change.uuid, change.row->columns);
        } else {
          rows[change.table].erase(change.uuid);
        }
      }
      ++slices;
      more = more_follows;
      if (on_slice) on_slice();
      changed.notify();
    });
    session.set_on_conditions([this] {
      ++conditions;
      changed.notify();
    });
    session.set_on_state([this](bool synced) {
      states.push_back(synced);
      changed.notify();
    });
    session.start();
  }
  Observer(boost::asio::io_context& io, const std::string& remote)
      : Observer(io, SessionOptions{.remotes = remote, .tls = {}, .conditions = {}, .tables = {}}) {
  }

  /// The row of that name, or nullptr.
  const boost::json::object* named(const std::string& table, std::string_view name,
                                   Uuid* uuid = nullptr) {
    for (const auto& [id, columns] : rows[table]) {
      if (columns.at("name") == boost::json::value(name)) {
        if (uuid) *uuid = id;
        return &columns;
      }
    }
    return nullptr;
  }

  std::map<std::string, std::map<Uuid, boost::json::object>> rows;
  std::vector<bool> states;
  std::size_t slices = 0;
  std::size_t conditions = 0;  ///< How often those set last have come into force.
  bool more = false;
  std::function<void()> on_slice;
  test::Condition changed;
  Session session;
};

inline Insert storage(const std::string& name, const std::string& address = "somewhere") {
  return {"Storage", {{"name", name}, {"kind", "nfs"}, {"address", address}}, std::nullopt};
}

inline Transaction insert(Insert row) {
  Transaction transaction;
  transaction.inserts.push_back(std::move(row));
  return transaction;
}

/// address: before -> after, provided it is still `before`.
inline Transaction replace(const Uuid& uuid, const std::string& before, const std::string& after) {
  Transaction transaction;
  transaction.expectations.push_back({"Storage", uuid, "address", boost::json::value(before)});
  transaction.updates.push_back({"Storage", uuid, {{"address", after}}});
  return transaction;
}

inline boost::asio::awaitable<Uuid> make_storage(Observer& observer, std::string name,
                                                 std::string address) {
  auto synced = co_await observer.session.wait_synced(std::chrono::seconds(10));
  EXPECT_TRUE(synced);
  auto result = co_await observer.session.transact(insert(storage(name, address)));
  EXPECT_EQ(result->outcome, Outcome::committed);
  co_return result->inserted.at(0);
}

}  // namespace homeport::overlay::ovsdb
