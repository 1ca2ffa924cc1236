#include "agent/tasks/guests.h"

#include "agent/network/ports.h"
#include "agent/tasks/needs.h"
#include "overlay/log/log.h"
#include "overlay/pause.h"
#include "overlay/spawn.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace homeport::agent {

namespace asio = boost::asio;
namespace log = overlay::log;
namespace errc = boost::system::errc;
using migration::PortSpec;
using migration::Vm;
using policy::Result;

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
  return agent::ports_of(database_.contents(), application, mtu_limit_);
}

asio::awaitable<void> Guests::resume_interrupted(std::string application) {
  auto vm = co_await driver_.adopt(application);
  if (!vm) co_return;  // settle() finds out what became of it
  if (auto resumed = co_await vm->cont(); !resumed) {
    log::error({{"application", application}}, "{}: {}", application, resumed.error().message);
  }
  add(application, std::make_shared<Vm>(std::move(*vm)));
}

asio::awaitable<void> Guests::adopt(std::set<std::string> but) {
  std::set<std::string> names;
  for (std::string& name : driver_.known()) names.insert(std::move(name));
  for (const auto& [name, application] : database_.applications()) {
    const bool here = ownership(database_.contents(), name).location == host_;
    if (here && !application.qmp_socket.empty()) names.insert(name);
  }
  for (const std::string& name : names) {
    if (but.contains(name) || co_await look_for(name)) continue;
    log::error({{"application", name}},
               "guest {} is here and does not answer: it is asked again until it does", name);
    overlay::spawn(executor_, [this, name]() -> asio::awaitable<void> {
      co_await settle(name);
      obey();  // it may have been given up here meanwhile
    });
  }
}

asio::awaitable<void> Guests::settle(std::string application) {
  // Not `while (!co_await ...) co_await ...`, of which GCC 12 makes an invalid instruction.
  while (true) {
    const bool certain = co_await look_for(application);
    if (certain) co_return;
    co_await overlay::pause(std::chrono::seconds(1));
  }
}

bool Guests::present(const std::string& application) const {
  auto row = database_.applications().find(application);
  const bool netdev = row != database_.applications().end() && row->second.driver == Driver::netdev;
  return netdev ? ownership(database_.contents(), application).location == host_
                : running(application);
}

asio::awaitable<std::shared_ptr<Vm>> Guests::reconnect(std::string application) {
  guests_.erase(application);
  co_await settle(application);
  auto found = guests_.find(application);
  if (found == guests_.end()) co_return nullptr;
  co_return found->second;
}

/// Its monitor: one of a guest that was started here is the driver's, whatever its row says, which
/// may speak of the host that it came from.
asio::awaitable<Result<Vm>> Guests::reach(std::string application) {
  const auto known = driver_.known();
  if (std::find(known.begin(), known.end(), application) != known.end()) {
    co_return co_await driver_.adopt(application);
  }
  auto row = database_.applications().find(application);
  if (row != database_.applications().end() && !row->second.qmp_socket.empty()) {
    co_return co_await driver_.adopt(application, row->second.qmp_socket);
  }
  co_return co_await driver_.adopt(application);
}

/// True when it is certain: adopted, or not there.
asio::awaitable<bool> Guests::look_for(std::string application) {
  if (running(application)) co_return true;
  auto vm = co_await reach(application);
  if (running(application)) co_return true;
  if (vm) {
    log::info({{"application", application}}, "guest {} runs here (process {})", application,
              vm->pid());
    add(application, std::make_shared<Vm>(std::move(*vm)));
    co_return true;
  }
  const auto known = driver_.known();
  if (std::find(known.begin(), known.end(), application) == known.end()) {
    // Not one of ours: without anybody behind its monitor there is no guest.
    const auto code = vm.error().code;
    co_return code == errc::no_such_file_or_directory || code == errc::connection_refused ||
        code == errc::no_such_process;
  }
  if (auto removed = driver_.remove(application); !removed) co_return false;
  network_.remove_ports(application);
  log::warn({{"application", application}}, "guest {} has ended while the agent was away",
            application);
  co_return true;
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
  const Application description = row->second;
  const bool certain = co_await look_for(application);
  if (!certain) {
    co_return policy::make_error(
        errc::device_or_resource_busy,
        fmt::format("a guest of {} is here and does not answer: end its process first",
                    application));
  }
  if (running(application)) {
    // It may have been launched by an agent that was ended before it could let it go on.
    std::shared_ptr<Vm> vm = guests_.at(application);
    auto status = co_await vm->status();
    if (status && status->state == "prelaunch") co_return co_await vm->cont();
    co_return policy::make_error(errc::operation_in_progress,
                                 fmt::format("{} runs already", application));
  }
  auto needs = needs_of(description);
  if (!needs) co_return needs.error();
  auto ports = ports_of(application);
  if (!ports) co_return ports.error();

  migration::VmSpec spec{application,
                         ownership(database_.contents(), application).generation,
                         description.launch_profile,
                         needs->memory_mib,
                         needs->vcpus,
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
  auto vm = co_await reach(application);
  if (!vm) co_return vm.error();
  if (auto found = guests_.find(application); found != guests_.end()) co_return found->second;
  auto guest = std::make_shared<Vm>(std::move(*vm));
  add(application, guest);
  co_return guest;
}

std::set<std::string> Guests::known() const {
  std::set<std::string> names;
  for (std::string& name : driver_.known()) names.insert(std::move(name));
  for (const auto& [name, vm] : guests_) names.insert(name);
  return names;
}

void Guests::add(const std::string& application, std::shared_ptr<Vm> vm) {
  guests_[application] = vm;
  watch(application, std::move(vm));
}

void Guests::departed(const std::string& application) {
  guests_.erase(application);
  if (auto removed = driver_.remove(application); !removed) {
    log::error({{"application", application}}, "{}", removed.error().message);
  }
}

void Guests::obey() {
  std::vector<std::string> strays;  // fence() begins at once, and may take a guest out of guests_
  for (const auto& [application, vm] : guests_) {
    const Ownership owner = ownership(database_.contents(), application);
    if (!database_.applications().contains(application)) {
      fenced_.erase(application);
      if (orphans_.insert(application).second) {
        log::error(
            {{"application", application}},
            "{} runs here and is not in the control database any more: nobody reaches it, and it "
            "is left running; add it again, or end its process {}",
            application, vm->pid());
      }
      continue;
    }
    orphans_.erase(application);
    if (!elsewhere(application)) {
      fenced_.erase(application);
      continue;
    }
    if (!fenced_.insert(application).second) continue;
    log::error({{"application", application}},
               "{} runs here, but the control database says that it is at {} by generation {}: "
               "stopping it here",
               application, owner.location, owner.generation);
    strays.push_back(application);
  }
  for (const std::string& stray : strays) overlay::spawn(executor_, fence(stray));
}

/// Whether the control database says so, and no move that is under way here knows better.
bool Guests::elsewhere(const std::string& application) const {
  const Ownership owner = ownership(database_.contents(), application);
  return owner.kind == Ownership::Kind::owned && owner.location != host_ &&
         !network_.move_of(application);
}

/// Stops a guest that is another host's, however often its program does not answer.
asio::awaitable<void> Guests::fence(std::string application) {
  while (true) {
    auto found = guests_.find(application);
    if (found == guests_.end() || !elsewhere(application)) co_return;
    std::shared_ptr<Vm> vm = found->second;
    auto stopped = co_await vm->stop();
    if (stopped) log::info({{"application", application}}, "{} is stopped here", application);
    if (stopped || vm->exited()) co_return;
    log::error({{"application", application}}, "{}: {}", application, stopped.error().message);
    if (!vm->qmp().connected()) co_await reconnect(application);
    co_await overlay::pause(std::chrono::seconds(1));
  }
}

void Guests::clean_up(const std::string& application) {
  network_.remove_ports(application);
  if (auto removed = driver_.remove(application); !removed) {
    log::error({{"application", application}}, "{}", removed.error().message);
  }
}

/// Notices a guest that ends by itself. One that stop() or a move has taken out is theirs.
void Guests::watch(std::string application, std::shared_ptr<Vm> vm) {
  auto wait = [this, application, vm]() -> asio::awaitable<void> {
    if (auto ended = co_await vm->wait_exit(); !ended) {
      log::error({{"application", application}}, "cannot watch guest {}: {}", application,
                 ended.error().message);
      co_return;
    }
    auto is_there = [&] {
      auto found = guests_.find(application);
      return found != guests_.end() && found->second == vm;
    };
    while (is_there() && network_.move_of(application)) {  // it comes to its end first
      co_await overlay::pause(std::chrono::milliseconds(50));
    }
    if (!is_there()) co_return;
    log::warn({{"application", application}}, "guest {} has ended", application);
    guests_.erase(application);
    clean_up(application);
  };
  overlay::spawn(executor_, wait);
}

}  // namespace homeport::agent
