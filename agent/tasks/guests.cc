#include "agent/tasks/guests.h"
#include "overlay/spawn.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <charconv>

namespace homeport::agent {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using migration::PortSpec;
using migration::Vm;
using policy::Result;

Result<std::uint64_t> number_property(const Application& application, const std::string& name,
                                      std::uint64_t fallback) {
  auto found = application.properties.find(name);
  if (found == application.properties.end()) return fallback;
  const std::string& text = found->second;
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value == 0) {
    return policy::make_error(
        errc::invalid_argument,
        fmt::format("application {}: {} is \"{}\", not a positive whole number", application.name,
                    name, text));
  }
  return value;
}

Guests::Guests(asio::any_io_executor executor, const ControlDatabase& database,
               VirtualNetwork& network, migration::QemuDriver& driver, std::string host,
               std::uint32_t mtu_limit)
    : executor_(std::move(executor)),
      database_(database),
      network_(network),
      driver_(driver),
      host_(std::move(host)),
      mtu_limit_(mtu_limit) {}

Result<std::vector<PortSpec>> Guests::ports_of(const std::string& application) const {
  std::vector<PortSpec> ports;
  for (const Binding* binding : database_.contents().bindings_of(application)) {
    auto network = database_.networks().find(binding->network);
    if (network == database_.networks().end()) {
      return policy::make_error(errc::no_such_device,
                                fmt::format("{} is in network {}, which is not in the control "
                                            "database",
                                            binding->name, binding->network));
    }
    ports.push_back({binding->name, network->second.vni, binding->mac,
                     mtu_of(network->second, mtu_limit_), tap_name(binding->name)});
  }
  return ports;
}

asio::awaitable<void> Guests::adopt(std::set<std::string> but) {
  for (const std::string& name : driver_.known()) {
    if (but.contains(name)) continue;
    auto vm = co_await driver_.adopt(name);
    if (vm) {
      spdlog::info("guest {} runs here (process {})", name, vm->pid());
      add(name, std::make_shared<Vm>(std::move(*vm)));
    } else if (auto removed = driver_.remove(name); removed) {
      network_.remove_ports(name);
      spdlog::warn("guest {} has ended while the agent was away", name);
    } else {
      spdlog::error("guest {} is here and does not answer: {}", name, vm.error().message);
    }
  }
}

asio::awaitable<Result<void>> Guests::start(std::string application) {
  auto row = database_.applications().find(application);
  if (row == database_.applications().end()) {
    co_return policy::make_error(
        errc::invalid_argument,
        fmt::format("no application {} in the control database", application));
  }
  if (row->second.driver != Driver::qemu) {
    co_return policy::make_error(
        errc::operation_not_supported,
        fmt::format("{} is a network device, not a VM: it is not started", application));
  }
  if (running(application)) {
    co_return policy::make_error(errc::operation_in_progress,
                                 fmt::format("{} runs already", application));
  }
  const Application description = row->second;
  auto memory_mib = number_property(description, "memory_mib", 256);
  if (!memory_mib) co_return memory_mib.error();
  auto vcpus = number_property(description, "vcpus", 1);
  if (!vcpus) co_return vcpus.error();
  auto ports = ports_of(application);
  if (!ports) co_return ports.error();

  migration::VmSpec spec{application,
                         ownership(database_.contents(), application).generation,
                         description.launch_profile,
                         *memory_mib,
                         static_cast<std::uint32_t>(*vcpus),
                         {}};
  std::vector<overlay::UniqueFd> queues;
  Result<void> outcome{};
  for (const PortSpec& port : *ports) {
    auto queue = network_.create_port(application, port);
    if (!queue) {
      outcome = queue.error();
      break;
    }
    queues.push_back(std::move(*queue));
    spec.nics.push_back({queues.back().get(), port.device, port.mac.to_string(), port.mtu});
  }
  network_.reconcile();
  if (outcome) {
    auto vm = co_await driver_.launch(std::move(spec), migration::LaunchMode::boot);
    if (vm) {
      auto guest = std::make_shared<Vm>(std::move(*vm));
      outcome = co_await guest->cont();
      if (outcome) {
        add(application, std::move(guest));
        co_return outcome;
      }
      co_await guest->kill();
    } else {
      outcome = vm.error();
    }
  }
  queues.clear();
  clean_up(application);
  co_return outcome;
}

asio::awaitable<Result<void>> Guests::stop(std::string application) {
  auto found = guests_.find(application);
  if (found == guests_.end()) {
    co_return policy::make_error(errc::no_such_process,
                                 fmt::format("{} does not run on {}", application, host_));
  }
  std::shared_ptr<Vm> vm = found->second;
  guests_.erase(found);
  auto ended = co_await vm->quit();
  clean_up(application);
  co_return ended;
}

asio::awaitable<Result<std::shared_ptr<Vm>>> Guests::find(std::string application) {
  if (auto found = guests_.find(application); found != guests_.end()) co_return found->second;
  auto row = database_.applications().find(application);
  if (row == database_.applications().end() || row->second.qmp_socket.empty()) {
    co_return policy::make_error(
        errc::no_such_process,
        fmt::format("{} does not run on {}: start it with `homeport app start {}`", application,
                    host_, application));
  }
  auto vm = co_await driver_.adopt(application, row->second.qmp_socket);
  if (!vm) co_return vm.error();
  add(application, std::make_shared<Vm>(std::move(*vm)));
  co_return guests_.at(application);
}

void Guests::add(const std::string& application, std::shared_ptr<Vm> vm) {
  guests_[application] = vm;
  watch(application, std::move(vm));
}

void Guests::departed(const std::string& application) {
  guests_.erase(application);
  if (auto removed = driver_.remove(application); !removed) {
    spdlog::error("{}", removed.error().message);
  }
}

void Guests::obey() {
  for (const auto& [application, vm] : guests_) {
    const Ownership owner = ownership(database_.contents(), application);
    if (!database_.applications().contains(application)) {
      if (fenced_.insert(application).second) {
        spdlog::error(
            "{} runs here and is not in the control database any more: nobody reaches it, and it "
            "is left running; add it again, or end its process {}",
            application, vm->pid());
      }
      continue;
    }
    const bool elsewhere = owner.kind == Ownership::Kind::owned && owner.location != host_ &&
                           !network_.move_of(application);
    if (!elsewhere) {
      fenced_.erase(application);
      continue;
    }
    if (!fenced_.insert(application).second) continue;
    spdlog::error(
        "{} runs here, but the control database says that it is at {} by generation {}: "
        "stopping it here",
        application, owner.location, owner.generation);
    overlay::spawn(executor_, [vm = vm]() -> asio::awaitable<void> {
      if (auto stopped = co_await vm->stop(); !stopped) {
        spdlog::error("{}: {}", vm->name(), stopped.error().message);
      }
    });
  }
}

void Guests::clean_up(const std::string& application) {
  network_.remove_ports(application);
  if (auto removed = driver_.remove(application); !removed) {
    spdlog::error("{}", removed.error().message);
  }
}

void Guests::move_ended(const std::string& application) {
  auto found = guests_.find(application);
  if (found == guests_.end() || !found->second->exited()) return;
  spdlog::warn("guest {} has ended during its move", application);
  guests_.erase(found);
  clean_up(application);
}

/// Notices a guest that ends by itself. One that stop() has taken out is that one's, and one that a
/// move is at is seen to by move_ended().
void Guests::watch(std::string application, std::shared_ptr<Vm> vm) {
  auto wait = [this, application, vm]() -> asio::awaitable<void> {
    if (auto ended = co_await vm->wait_exit(); !ended) {
      spdlog::error("cannot watch guest {}: {}", application, ended.error().message);
      co_return;
    }
    auto found = guests_.find(application);
    if (found == guests_.end() || found->second != vm || network_.move_of(application)) co_return;
    spdlog::warn("guest {} has ended", application);
    guests_.erase(found);
    clean_up(application);
  };
  overlay::spawn(executor_, wait);
}

}  // namespace homeport::agent
