// The operations of ControlDatabase that are repeated until they are in: rows of this host, and the
// rows that the command line writes.
#include "agent/control/database_impl.h"

#include "agent/control/validate.h"
#include "overlay/log/log.h"

#include <fmt/format.h>
#include <boost/asio/this_coro.hpp>
#include <boost/uuid/random_generator.hpp>

#include <algorithm>

namespace homeport::agent {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using Planned = policy::Result<std::optional<Transaction>>;

namespace {

template <class... Args>
policy::Error not_there(fmt::format_string<Args...> format, Args&&... args) {
  return policy::make_error(errc::no_such_file_or_directory,
                            fmt::format(format, std::forward<Args>(args)...));
}

/// Deletes the row that `rows` has under `name`, unless `used_by` names another that refers to it.
template <class Rows>
Planned plan_removal(const Rows& rows, const std::string& name, const char* what,
                     const std::string& used_by, bool& seen) {
  const auto* row = find_row(rows, name);
  // Gone at the second attempt is what was wanted.
  if (!row && seen) return std::optional<Transaction>();
  if (!row) return not_there("there is no {} {} in the control database", what, name);
  if (!used_by.empty()) {
    return policy::make_error(errc::device_or_resource_busy,
                              fmt::format("{} {} is in use by {}", what, name, used_by));
  }
  seen = true;
  Transaction transaction;
  transaction.comment = fmt::format("remove {} {}", what, name);
  transaction.deletes.push_back({Rows::mapped_type::kTable, row->uuid});
  return std::optional(std::move(transaction));
}

/// An address that comes back, as after its link was down, finds it again.
bool has_controllers_say(const Interface& row) {
  return row.cost != 0 || !row.label.empty() || row.allowed.has_value() || row.bulk_limit_mbps != 0;
}

/// Writes columns of a task.
Planned plan_task_update(const Contents& contents, const Uuid& uuid, const char* comment,
                         boost::json::object values) {
  const auto* task = find_row(contents.tasks, uuid);
  if (!task) return not_there("there is no task {} in the control database", to_string(uuid));
  auto before = columns(*task);
  bool differs = std::any_of(values.begin(), values.end(), [&](const auto& value) {
    return before.at(value.key()) != value.value();
  });
  if (!differs) return std::optional<Transaction>();
  Transaction transaction;
  transaction.comment = comment;
  transaction.updates.push_back({Task::kTable, uuid, std::move(values)});
  return std::optional(std::move(transaction));
}

}  // namespace

asio::awaitable<policy::Result<void>> ControlDatabase::publish_host(Host host) {
  return impl_->until_done([host = std::move(host)](const Contents& contents) -> Planned {
    auto change = upsert(find_row(contents.hosts, host.name), host, "host " + host.name);
    // A database of schema 1.0 has no such column, and none is needed for the default.
    if (change && !change->inserts.empty() && !host.relays) {
      change->inserts.front().columns.erase("relays");
    }
    return change;
  });
}

asio::awaitable<policy::Result<void>> ControlDatabase::publish_interfaces(
    std::string host, std::vector<Interface> interfaces) {
  return impl_->until_done([host = std::move(host), interfaces = std::move(interfaces)](
                               const Contents& contents) -> Planned {
    Transaction all;
    all.comment = "interfaces of " + host;
    auto same = [](const Interface& a, const Interface& b) {
      return a.name == b.name && a.address == b.address;
    };
    for (auto wanted : interfaces) {
      wanted.host = host;
      const Interface* existing = nullptr;
      for (const auto& [uuid, row] : contents.interfaces) {
        if (row.host == host && same(row, wanted)) existing = &row;
      }
      if (auto one = upsert(existing, wanted, {})) {
        std::move(one->inserts.begin(), one->inserts.end(), std::back_inserter(all.inserts));
        std::move(one->updates.begin(), one->updates.end(), std::back_inserter(all.updates));
      }
    }
    for (const auto& entry : contents.interfaces) {
      const Interface& row = entry.second;
      bool wanted = std::any_of(interfaces.begin(), interfaces.end(),
                                [&](const Interface& it) { return same(it, row); });
      if (row.host != host || wanted) continue;
      if (!has_controllers_say(row)) {
        all.deletes.push_back({Interface::kTable, row.uuid});
      } else if (row.state != LinkState::absent) {
        all.updates.push_back(
            {Interface::kTable, row.uuid, {{"state", to_string(LinkState::absent)}}});
      }
    }
    if (all.inserts.empty() && all.updates.empty() && all.deletes.empty()) {
      return std::optional<Transaction>();
    }
    return std::optional(std::move(all));
  });
}

asio::awaitable<policy::Result<void>> ControlDatabase::publish_status(HostStatus status) {
  return impl_->until_done([status = std::move(status)](const Contents& contents) -> Planned {
    return upsert(find_row(contents.host_status, status.host), status, {});
  });
}

asio::awaitable<void> ControlDatabase::keep_alive(
    std::function<HostStatus()> status, std::optional<std::chrono::milliseconds> interval) {
  auto impl = impl_;
  bool go_on = true;
  std::string host;
  while (go_on) {
    // Asked for at each attempt: an old state must not be written over a newer one.
    auto published = co_await impl->until_done([&](const Contents& contents) -> Planned {
      HostStatus now = status();
      now.last_seen = wall_clock_now();
      host = now.host;
      return upsert(find_row(contents.host_status, now.host), now, {});
    });
    auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) co_return;
    if (!published && published.error().cancelled()) co_return;
    if (!published && published.error().code != errc::timed_out) {
      overlay::log::warn("this host's status could not be written: {}", published.error().message);
    }
    const auto every = interval.value_or(beat_interval(impl->tables.contents().hosts.size()));
    go_on = co_await impl->pause(until_next_beat(wall_clock_now(), host, every));
  }
}

asio::awaitable<policy::Result<void>> ControlDatabase::write_task_status(TaskStatus status) {
  return impl_->until_done([status = std::move(status)](const Contents& contents) -> Planned {
    const TaskStatus* existing = find_row(contents.task_status, status.task);
    TaskStatus wanted = status;
    // A new row has no lanes yet, and needs none of the columns.
    wanted.tells_lanes = existing ? existing->tells_lanes : !status.lanes.empty();
    return upsert(existing, wanted, {});
  });
}

asio::awaitable<policy::Result<Uuid>> ControlDatabase::insert_task(Task task) {
  auto uuid = task.uuid.is_nil() ? boost::uuids::random_generator()() : task.uuid;
  bool checked = false;
  auto inserted =
      co_await impl_->until_done([&task, &checked, uuid](const Contents& contents) -> Planned {
        if (contents.tasks.contains(uuid)) return std::optional<Transaction>();
        if (auto good = check_task(contents, task); !good && !checked) return good.error();
        checked = true;
        Transaction transaction;
        transaction.comment = fmt::format("{} {}", to_string(task.kind), task.application);
        transaction.inserts.push_back({Task::kTable, columns(task), uuid});
        return std::optional(std::move(transaction));
      });
  if (!inserted) co_return inserted.error();
  co_return uuid;
}

asio::awaitable<policy::Result<void>> ControlDatabase::request_cancel(Uuid task) {
  return impl_->until_done([task](const Contents& contents) {
    return plan_task_update(contents, task, "cancel a task", {{"cancel", true}});
  });
}

asio::awaitable<policy::Result<void>> ControlDatabase::resolve_task(Uuid task,
                                                                    Resolution resolution) {
  return impl_->until_done([task, resolution](const Contents& contents) {
    boost::json::array value{"set", boost::json::array{to_string(resolution)}};
    return plan_task_update(contents, task, "resolve a task", {{"resolution", std::move(value)}});
  });
}

asio::awaitable<policy::Result<void>> ControlDatabase::remove_task(Uuid task) {
  return impl_->until_done([task, seen = false](const Contents& contents) mutable -> Planned {
    if (!contents.tasks.contains(task)) {
      if (seen) return std::optional<Transaction>();
      return not_there("there is no task {} in the control database", to_string(task));
    }
    seen = true;
    Transaction transaction;
    transaction.comment = "remove a task";
    transaction.deletes.push_back({Task::kTable, task});
    if (const auto* status = find_row(contents.task_status, task)) {
      transaction.deletes.push_back({TaskStatus::kTable, status->uuid});
    }
    return std::optional(std::move(transaction));
  });
}

asio::awaitable<policy::Result<void>> ControlDatabase::remove_abandoned_status(std::string host) {
  return impl_->until_done([host = std::move(host)](const Contents& contents) -> Planned {
    Transaction transaction;
    transaction.comment = "remove what is left of tasks";
    for (const TaskStatus* status : abandoned_status(contents, host)) {
      transaction.deletes.push_back({TaskStatus::kTable, status->uuid});
    }
    if (transaction.deletes.empty()) return std::optional<Transaction>();
    return std::optional(std::move(transaction));
  });
}

asio::awaitable<policy::Result<void>> ControlDatabase::put_network(Network network) {
  return impl_->until_done([network = std::move(network)](const Contents& contents) -> Planned {
    if (auto good = check_network(contents, network); !good) return good.error();
    return upsert(find_row(contents.networks, network.name), network, "network " + network.name);
  });
}

asio::awaitable<policy::Result<void>> ControlDatabase::put_application(Application application) {
  return impl_->until_done(
      [application = std::move(application)](const Contents& contents) -> Planned {
        if (auto good = check_application(contents, application); !good) return good.error();
        return upsert(find_row(contents.applications, application.name), application,
                      "application " + application.name);
      });
}

asio::awaitable<policy::Result<void>> ControlDatabase::put_binding(Binding binding) {
  return impl_->until_done([binding = std::move(binding)](const Contents& contents) -> Planned {
    if (auto good = check_binding(contents, binding); !good) return good.error();
    return upsert(find_row(contents.bindings, binding.name), binding, "binding " + binding.name,
                  {"location", "generation"});
  });
}

asio::awaitable<policy::Result<void>> ControlDatabase::put_policy(Policy policy) {
  return impl_->until_done([policy = std::move(policy)](const Contents& contents) -> Planned {
    if (auto good = check_policy(policy); !good) return good.error();
    return upsert(find_row(contents.policies, policy.name), policy, "policy " + policy.name);
  });
}

asio::awaitable<policy::Result<void>> ControlDatabase::remove_network(std::string name) {
  return impl_->until_done(
      [name = std::move(name), seen = false](const Contents& contents) mutable {
        std::string used_by;
        for (const auto& [other, binding] : contents.bindings) {
          if (binding.network == name) used_by = "binding " + other;
        }
        return plan_removal(contents.networks, name, "network", used_by, seen);
      });
}

asio::awaitable<policy::Result<void>> ControlDatabase::remove_application(std::string name) {
  return impl_->until_done(
      [name = std::move(name), seen = false](const Contents& contents) mutable {
        auto bindings = contents.bindings_of(name);
        return plan_removal(contents.applications, name, "application",
                            bindings.empty() ? "" : "binding " + bindings.front()->name, seen);
      });
}

asio::awaitable<policy::Result<void>> ControlDatabase::remove_binding(std::string name) {
  return impl_->until_done(
      [name = std::move(name), seen = false](const Contents& contents) mutable {
        return plan_removal(contents.bindings, name, "binding", {}, seen);
      });
}

asio::awaitable<policy::Result<void>> ControlDatabase::remove_policy(std::string name) {
  return impl_->until_done(
      [name = std::move(name), seen = false](const Contents& contents) mutable {
        std::string used_by;
        for (const auto& [other, application] : contents.applications) {
          if (application.policy == name) used_by = "application " + other;
        }
        return plan_removal(contents.policies, name, "policy", used_by, seen);
      });
}

}  // namespace homeport::agent
