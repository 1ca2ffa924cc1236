// A host of a large fleet over many random moves: what it needs is at hand whenever it says so, and
// the expensive conditions change seldom. The server is a model; what is asked of it and what comes
// back is the agent's own.
#include "agent/control/read_rows.h"

#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/uuid/string_generator.hpp>

#include <random>
#include <string>

namespace homeport::agent {
namespace {

using namespace std::chrono_literals;
using overlay::ovsdb::Answers;
using overlay::ovsdb::Clause;
using overlay::ovsdb::Conditions;
using overlay::ovsdb::RowChange;

constexpr const char* kHost = "host0";
constexpr int kNetworks = 12, kApplications = 60;

class Roaming : public testing::TestWithParam<unsigned> {
 protected:
  using Clock = Interest::Clock;

  Roaming() : random_(GetParam()) {
    tables_.set_home(kHost);
    for (std::size_t i = 0; i <= kSmallFleet; ++i) {
      Host host;
      host.name = host_name(i);
      put(host, new_id());
    }
    for (int i = 0; i < kNetworks; ++i) {
      Network network;
      network.name = network_name(i);
      network.vni = static_cast<policy::Vni>(100 + i);
      put(network, new_id());
    }
    for (int i = 0; i < kApplications; ++i) {
      Application application;
      application.name = "vm" + std::to_string(i);
      put(application, new_id());
      bind(i, "", i % kNetworks);
      if (i % 3 == 0) bind(i, "/b", (i + 1) % kNetworks);
    }
  }

  static std::string host_name(std::size_t i) { return "host" + std::to_string(i); }
  static std::string network_name(int i) { return "net" + std::to_string(i); }
  std::size_t pick(std::size_t below) { return random_() % below; }
  Uuid new_id() {
    Uuid uuid{};
    const std::uint32_t number = ++last_id_;
    for (int i = 0; i < 4; ++i) {
      uuid.data[12 + i] = static_cast<std::uint8_t>(number >> (24 - 8 * i));
    }
    return uuid;
  }
  void bind(int i, const std::string& suffix, int network) {
    Binding binding;
    binding.application = "vm" + std::to_string(i);
    binding.name = binding.application + suffix;
    binding.network = network_name(network);
    binding.mac = *policy::MacAddress::parse("52:54:00:00:00:01");
    binding.location = host_name(pick(3) == 0 ? 0 : i % 4);
    binding.generation = 1;
    if (!suffix.empty()) binding.location = location_of(binding.application);
    put(binding, new_id());
  }

  // --- The server.
  template <class Record>
  void put(const Record& record, const Uuid& uuid) {
    server_[Record::kTable][uuid] = Row{uuid, columns(record)};
  }
  template <class Record, class Action>
  void for_each(Action action) {
    for (auto& [uuid, row] : server_[Record::kTable]) {
      Record record = parse<Record>(row).value();
      if (action(record)) put(record, uuid);
    }
  }
  std::string location_of(const std::string& application) {
    std::string location;
    for_each<Binding>([&](Binding& binding) {
      if (binding.application == application) location = binding.location;
      return false;
    });
    return location;
  }
  static bool fits(const Row& row, const Clause& clause) {
    if (clause.column == "_uuid") {
      return clause.value.as_array().at(1).as_string() == to_string(row.uuid).c_str();
    }
    const auto& value = row.columns.at(clause.column);
    if (clause.function == "==") return value == clause.value;
    const auto& wanted = clause.value.as_array().at(1).as_array().at(0);
    for (const auto& pair : value.as_array().at(1).as_array()) {
      if (pair == wanted) return true;
    }
    return false;
  }
  static bool fits(const Row& row, const std::vector<Clause>& clauses) {
    return std::ranges::any_of(clauses, [&](const auto& clause) { return fits(row, clause); });
  }

  // --- The session.
  void tell(const RowChange& change) {
    rows_.monitored(change);
    EXPECT_EQ(tables_.apply(change), nullptr);
  }
  /// What the conditions in force have to tell.
  void monitor() {
    for (const std::string& table : tables_.names()) {
      auto clauses = in_force_.find(table);
      auto& told = told_[table];
      auto& rows = server_[table];
      auto wanted = [&](const Row& row) {
        return clauses == in_force_.end() || fits(row, clauses->second);
      };
      for (auto it = told.begin(); it != told.end();) {
        auto row = rows.find(it->first);
        const bool stays = row != rows.end() && wanted(row->second);
        if (!stays) tell({table, it->first, {}});
        it = stays ? std::next(it) : told.erase(it);
      }
      for (const auto& [uuid, row] : rows) {
        if (!wanted(row)) continue;
        auto known = told.find(uuid);
        if (known != told.end() && known->second == row.columns) continue;
        told[uuid] = row.columns;
        tell({table, uuid, row});
      }
    }
  }

  // --- The agent.
  void follow() {
    Expected expected;
    for_each<TaskStatus>([&](TaskStatus& status) {
      if (status.destination == kHost && !status.finished) {
        expected[status.application].rows = said_[status.application];
      }
      return false;
    });
    const auto following = interest_.follow(tables_.contents(), {}, expected, in_force_, now_);
    rows_.want(following.readings);
    for (const char* table : {Binding::kTable, Application::kTable}) {
      if (following.conditions.at(table) != conditions_[table]) ++changes_[table];
    }
    conditions_ = following.conditions;
  }
  void read() {
    if (auto request = rows_.next(now_)) {
      Answers answers;
      for (const auto& query : request->queries) {
        auto& answer = answers.emplace_back();
        for (const auto& [uuid, row] : server_[query.table]) {
          if (fits(row, query.where)) answer.push_back(row);
        }
      }
      rows_.take(std::move(answers), now_, [](const auto& error) { FAIL() << error.message; });
    }
  }
  bool settled() const { return conditions_ == in_force_ && rows_.settled(); }
  /// One thing happens that may: in any order.
  void turn() {
    switch (pick(3)) {
      case 0:
        monitor();
        break;
      case 1:
        in_force_ = conditions_;
        monitor();
        break;
      default:
        read();
    }
    follow();
    nothing_flickers();
  }
  void settle() {
    for (int i = 0; i < 1000; ++i) {
      monitor();
      follow();
      if (settled()) return check();
      turn();
    }
    FAIL() << "it does not come to an end";
  }

  // --- What must be true.
  std::set<std::string> needed() {
    std::set<std::string> names;
    for_each<Binding>([&](Binding& binding) {
      if (binding.location == kHost) names.insert(binding.application);
      return false;
    });
    for_each<Task>([&](Task& task) {
      if (task.arguments["destination"] == kHost && begun(task.uuid) && !ended(task.uuid)) {
        names.insert(task.application);
      }
      return false;
    });
    return names;
  }
  bool begun(const Uuid& task) {
    bool found = false;
    for_each<TaskStatus>([&](TaskStatus& status) {
      found = found || status.task == task;
      return false;
    });
    return found;
  }
  bool ended(const Uuid& task) {
    bool finished = false;
    for_each<TaskStatus>([&](TaskStatus& status) {
      finished = finished || (status.task == task && status.finished);
      return false;
    });
    return finished;
  }
  void check() {
    const Contents& contents = tables_.contents();
    const auto names = needed();
    std::set<std::string> networks;
    for_each<Binding>([&](Binding& binding) {
      if (names.contains(binding.application)) networks.insert(binding.network);
      return false;
    });
    for_each<Binding>([&](Binding& binding) {
      if (!networks.contains(binding.network)) return false;
      auto found = contents.bindings.find(binding.name);
      EXPECT_TRUE(found != contents.bindings.end() && found->second == binding) << binding.name;
      return false;
    });
    at_hand_.clear();
    for (const std::string& name : names) {
      EXPECT_TRUE(contents.applications.contains(name)) << name;
      if (contents.applications.contains(name)) at_hand_.insert(name);
    }
  }
  void nothing_flickers() {
    const auto names = needed();
    for (const std::string& name : at_hand_) {
      if (!names.contains(name)) continue;
      EXPECT_TRUE(tables_.contents().applications.contains(name)) << name;
    }
  }

  // --- What happens.
  void ask_for_a_move() {
    Task task;
    task.uuid = new_id();
    task.application = "vm" + std::to_string(pick(kApplications));
    for_each<Task>([&](Task& other) {
      if (other.application == task.application) task.application.clear();
      return false;
    });
    if (task.application.empty()) return;
    task.arguments["destination"] = host_name(pick(4));
    if (task.arguments["destination"] == location_of(task.application)) return;
    put(task, task.uuid);
  }
  void begin(const Task& task) {
    TaskStatus status;
    status.task = task.uuid;
    status.application = task.application;
    status.host = status.source = location_of(task.application);
    status.destination = task.arguments.at("destination");
    put(status, new_id());
    // The source says where to find it: rightly, wrongly or not at all.
    KnownRows& rows = said_[task.application] = {};
    if (pick(3) == 0) return;
    for_each<Application>([&](Application& it) {
      if (it.name == task.application || pick(10 * kApplications) == 0) rows.application = it.uuid;
      return false;
    });
    for_each<Binding>([&](Binding& it) {
      if (it.application == task.application || pick(10 * kApplications) == 0) {
        rows.bindings.push_back(it.uuid);
      }
      return false;
    });
  }
  void commit(const TaskStatus& status) {
    ++moves_;
    for_each<Binding>([&](Binding& binding) {
      if (binding.application != status.application) return false;
      binding.location = status.destination;
      ++binding.generation;
      return true;
    });
  }
  void go_on() {
    auto& tasks = server_[Task::kTable];
    if (tasks.empty()) return;
    const Task task = parse<Task>(std::next(tasks.begin(), pick(tasks.size()))->second).value();
    bool found = false;
    auto& all = server_[TaskStatus::kTable];
    for (auto it = all.begin(); it != all.end(); ++it) {
      TaskStatus status = parse<TaskStatus>(it->second).value();
      if (status.task != task.uuid) continue;
      found = true;
      if (status.finished) {
        all.erase(it);
        tasks.erase(task.uuid);
      } else if (status.phase.empty() && pick(4) > 0) {
        commit(status);
        status.phase = "committed";
        put(status, it->first);
      } else {
        status.finished = WallTime(1s);
        put(status, it->first);
      }
      break;
    }
    if (!found) begin(task);
  }
  void event() {
    switch (pick(8)) {
      case 0:
        ask_for_a_move();
        break;
      case 1:
        now_ += std::chrono::seconds(pick(100));
        break;
      default:
        go_on();
    }
  }

  std::mt19937 random_;
  std::uint32_t last_id_ = 0;
  Clock::time_point now_{1h};
  std::map<std::string, std::map<Uuid, Row>> server_;
  Tables tables_;
  Interest interest_{kHost, 300s, {}};
  ReadRows rows_{tables_};
  Conditions conditions_ = conditions_of({}, kHost, kSmallFleet + 1), in_force_ = conditions_;
  std::map<std::string, std::map<Uuid, boost::json::object>> told_;
  std::map<std::string, std::size_t> changes_;
  std::map<std::string, KnownRows> said_;
  std::set<std::string> at_hand_;  ///< Applications that were needed and there.
  std::size_t moves_ = 0;
  std::size_t binding_changes_ = 0;  ///< When it was last settled.
};

TEST_P(Roaming, WhatIsNeededIsAtHandAndTheConditionsSeldomChange) {
  settle();
  auto networks = interest_.concern().networks;
  for (int i = 0; i < 1000 && !HasFailure(); ++i) {
    const std::size_t before = changes_["Binding"];
    event();
    if (pick(2) == 0) turn();
    if (pick(3) == 0) continue;
    settle();
    // What the host follows has changed since it was last settled, or the condition has not.
    if (networks == interest_.concern().networks && before == binding_changes_) {
      EXPECT_EQ(changes_["Binding"], before);
    }
    networks = interest_.concern().networks;
    binding_changes_ = changes_["Binding"];
  }
  settle();
  EXPECT_GT(moves_, 50u);
  EXPECT_LE((changes_["Application"] - 1) * kManyNames, 2 * moves_);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Roaming, testing::Range(1u, 5u));

}  // namespace
}  // namespace homeport::agent
