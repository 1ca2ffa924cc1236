#include "migration/vm/vm.h"

#include "migration/vm/deadline.h"
#include "migration/vm/json_access.h"
#include "migration/vm/process.h"
#include "migration/vm/vm_state.h"
#include "overlay/directory.h"
#include "overlay/read_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>

namespace homeport::migration {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
namespace json = boost::json;
using policy::Error;
using policy::make_error;
using policy::Result;

namespace {

std::string proc(pid_t pid, std::string_view entry) {
  return fmt::format("/proc/{}/{}", pid, entry);
}

/// QEMU has the path as it was given; the kernel shows it resolved.
std::string resolved(const std::string& path, pid_t pid) {
  std::error_code failed;
  std::filesystem::path whole = path;
  if (whole.is_relative()) {
    whole = std::filesystem::read_symlink(proc(pid, "cwd"), failed) / whole;
  }
  auto canonical = std::filesystem::weakly_canonical(whole, failed);
  std::string text = failed ? whole.string() : canonical.string();
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

/// Devices that write guest RAM from elsewhere than the VM's process, or from hardware.
bool writes_unseen(std::string_view type) {
  return type.find("vfio") != std::string_view::npos ||
         type.find("vhost-user") != std::string_view::npos ||
         type.find("vhost-vdpa") != std::string_view::npos;
}

}  // namespace

Vm::Vm(std::string name, Qmp qmp, pid_t pid, overlay::UniqueFd pidfd, std::filesystem::path log)
    : state_(new State{std::move(name), std::move(qmp), pid, std::move(pidfd), std::move(log)}) {}
Vm::Vm(Vm&&) noexcept = default;
Vm& Vm::operator=(Vm&&) noexcept = default;
Vm::~Vm() = default;

const std::string& Vm::name() const {
  return state_->name;
}
pid_t Vm::pid() const {
  return state_->pid;
}
int Vm::pidfd() const {
  return state_->pidfd.get();
}
Qmp& Vm::qmp() {
  return state_->qmp;
}

asio::awaitable<Result<VmStatus>> Vm::status() {
  auto state = state_;
  auto reply = co_await state->qmp.execute("query-status");
  if (!reply) co_return reply.error();
  const json::object* status = reply->if_object();
  if (!status) co_return make_error(errc::bad_message, "query-status did not give an object");
  co_return VmStatus{text_at(*status, "status"), true_at(*status, "running")};
}

asio::awaitable<Result<void>> Vm::stop() {
  auto state = state_;
  auto reply = co_await state->qmp.execute("stop");
  if (!reply) co_return state->explain(reply.error());
  co_return Result<void>{};
}

asio::awaitable<Result<void>> Vm::cont() {
  auto state = state_;
  auto reply = co_await state->qmp.execute("cont");
  if (!reply) co_return state->explain(reply.error());
  co_return Result<void>{};
}

asio::awaitable<Result<std::vector<Vm::State::Backend>>> Vm::State::backends() {
  auto reply = co_await qmp.execute("query-memdev");
  if (!reply) co_return explain(reply.error());
  std::vector<Backend> found;
  const json::array* list = reply->if_array();
  for (std::size_t i = 0; list && i < list->size(); ++i) {
    const json::object* entry = (*list)[i].if_object();
    if (!entry) continue;
    Backend backend;
    backend.id = text_at(*entry, "id");
    backend.size = number_at(*entry, "size").value_or(0);
    backend.shared = true_at(*entry, "share");
    json::object property;
    property["path"] = "/objects/" + backend.id;
    property["property"] = "type";
    auto type = co_await qmp.execute("qom-get", property);
    if (type && type->is_string()) backend.type = type->get_string().c_str();
    if (backend.type == "memory-backend-file") {
      property["property"] = "mem-path";
      auto path = co_await qmp.execute("qom-get", property);
      if (path && path->is_string()) backend.path = path->get_string().c_str();
    }
    found.push_back(std::move(backend));
  }
  if (found.empty()) {
    co_return make_error(errc::not_supported,
                         name +
                             " has no memory backend that could be moved: start it with -object "
                             "memory-backend-file,share=on and -machine memory-backend=");
  }
  co_return found;
}

asio::awaitable<Result<void>> Vm::check_movable() {
  auto state = state_;
  auto backends = co_await state->backends();
  if (!backends) co_return backends.error();
  for (const auto& backend : *backends) {
    if (backend.type == "memory-backend-file" && backend.shared) continue;
    co_return make_error(
        errc::not_supported,
        fmt::format(
            "{} cannot be moved: its RAM \"{}\" is a {} with share={}. Start QEMU with "
            "-object memory-backend-file,share=on for it, on a tmpfs, so that the agent can "
            "reach it",
            state->name, backend.id, backend.type.empty() ? "private block" : backend.type,
            backend.shared ? "on" : "off"));
  }

  auto migration = co_await state->qmp.execute("query-migrate");
  if (!migration) co_return state->explain(migration.error());
  if (const json::object* status = migration->if_object()) {
    if (const json::array* reasons = array_at(*status, "blocked-reasons")) {
      std::string sentence;
      for (const json::value& reason : *reasons) {
        if (const json::string* text = reason.if_string()) {
          sentence += (sentence.empty() ? "" : "; ") + std::string(text->c_str());
        }
      }
      co_return make_error(errc::not_supported,
                           fmt::format("{} cannot be moved: QEMU says: {}", state->name, sentence));
    }
  }

  for (const char* path : {"/machine/peripheral", "/machine/peripheral-anon"}) {
    json::object where;
    where["path"] = path;
    auto reply = co_await state->qmp.execute("qom-list", where);
    if (!reply) co_return state->explain(reply.error());
    const json::array* devices = reply->if_array();
    for (std::size_t i = 0; devices && i < devices->size(); ++i) {
      const json::object* device = (*devices)[i].if_object();
      if (!device || !writes_unseen(text_at(*device, "type"))) continue;
      co_return make_error(
          errc::not_supported,
          fmt::format("{} cannot be moved: its device \"{}\" ({}) writes guest RAM unseen; use a "
                      "virtio device that QEMU itself serves",
                      state->name, text_at(*device, "name"), text_at(*device, "type")));
    }
  }
  // Network back ends are not in QEMU's object tree; only the human monitor lists them.
  json::object line;
  line["command-line"] = "info network";
  auto networks = co_await state->qmp.execute("human-monitor-command", line);
  if (!networks) co_return state->explain(networks.error());
  if (networks->is_string() && writes_unseen(networks->get_string().c_str())) {
    co_return make_error(errc::not_supported,
                         state->name +
                             " cannot be moved: a vhost-user or vhost-vdpa network back "
                             "end writes guest RAM unseen; use -netdev tap");
  }

  auto blocks = co_await state->ram_blocks();
  if (!blocks) co_return blocks.error();
  co_return Result<void>{};
}

asio::awaitable<Result<std::vector<RamBlock>>> Vm::ram_blocks() {
  auto state = state_;
  co_return co_await state->ram_blocks();
}

asio::awaitable<Result<std::vector<RamBlock>>> Vm::State::ram_blocks() {
  auto found = co_await backends();
  if (!found) co_return found.error();
  auto maps = read_maps(pid);
  if (is_gone(pidfd.get())) {
    co_return explain(make_error(errc::no_such_process, name + " has ended"));
  }
  if (!maps) co_return maps.error();
  const std::vector<SharedMapping> mappings = shared_mappings(*maps);
  std::vector<RamBlock> blocks;
  for (const Backend& backend : *found) {
    auto block = find_ram_block(mappings, backend.id, backend.size, resolved(backend.path, pid));
    if (!block) co_return block.error();
    blocks.push_back(std::move(*block));
  }
  co_return blocks;
}

Result<overlay::UniqueFd> Vm::open_ram(const RamBlock& block) const {
  auto maps = read_maps(pid());
  if (!maps) return maps.error();
  for (const SharedMapping& mapping : shared_mappings(*maps)) {
    if (mapping.address != block.host_address || mapping.size != block.size) continue;
    std::string path = fmt::format("/proc/{}/map_files/{:x}-{:x}", pid(), mapping.address,
                                   mapping.address + mapping.first_size);
    overlay::UniqueFd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!file) return policy::errno_error("cannot open the guest's RAM by " + path);
    if (exited()) break;
    return file;
  }
  return make_error(errc::no_such_process,
                    fmt::format("{} has no RAM at {:#x} any more", name(), block.host_address));
}

asio::awaitable<Result<bool>> Vm::has_pinned_io() {
  auto state = state_;
  json::object flat;
  flat["flat"] = true;
  auto reply = co_await state->qmp.execute("query-named-block-nodes", flat);
  if (!reply) co_return state->explain(reply.error());
  const json::array* nodes = reply->if_array();
  if (!nodes) {
    co_return make_error(errc::bad_message, "query-named-block-nodes did not give a list");
  }
  for (std::size_t i = 0; i < nodes->size(); ++i) {
    const json::object* node = (*nodes)[i].if_object();
    const json::object* cache = node ? object_at(*node, "cache") : nullptr;
    if (cache && true_at(*cache, "direct")) co_return true;
  }
  co_return false;
}

asio::awaitable<Result<void>> Vm::announce_self() {
  auto state = state_;
  // QEMU's own defaults (AnnounceParameters): five announcements within 1.3 s.
  json::object timing;
  timing["initial"] = 50;
  timing["max"] = 550;
  timing["rounds"] = 5;
  timing["step"] = 100;
  auto reply = co_await state->qmp.execute("announce-self", timing);
  if (!reply) co_return state->explain(reply.error());
  co_return Result<void>{};
}

Result<overlay::UniqueFd> Vm::borrow_tap(const std::string& device) const {
  std::error_code failed;
  std::string wanted = "iff:\t" + device + "\n";
  for (const auto& entry : overlay::entries_of(proc(pid(), "fdinfo"), failed)) {
    if (overlay::read_proc(entry).find(wanted) == std::string::npos) continue;
    int number = -1;
    std::string digits = entry.filename();
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    overlay::UniqueFd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd(), number, 0)));
    if (!copy) return policy::errno_error("cannot copy the tap " + device + " of " + name());
    return copy;
  }
  return make_error(errc::no_such_device,
                    fmt::format("{} (process {}) has no tap {} open", name(), pid(), device));
}

bool Vm::exited() const {
  return is_gone(pidfd());
}

asio::awaitable<Result<void>> Vm::wait_exit() {
  // A copy of its own: who waits must not keep the monitor's connection open.
  overlay::UniqueFd process(::fcntl(pidfd(), F_DUPFD_CLOEXEC, 0));
  if (!process) co_return policy::errno_error("cannot watch " + name());
  auto gone = co_await wait_gone(process.get());
  if (gone) reap(process.get());
  co_return gone;
}

asio::awaitable<Result<void>> Vm::quit(std::chrono::milliseconds patience) {
  auto state = state_;
  // The answer may be lost with the process, and one that hangs is killed: both are fine.
  auto ask = [state]() -> asio::awaitable<Result<void>> {
    auto asked = co_await state->qmp.execute("quit");
    if (!asked && asked.error().code != errc::connection_reset) co_return asked.error();
    co_return co_await wait_gone(state->pidfd.get());
  };
  auto gone = co_await with_deadline(ask(), patience, state->name + " does not quit");
  if (gone) {
    reap(state->pidfd.get());
    co_return gone;
  }
  if (gone.error().cancelled()) co_return gone;
  co_return co_await state->kill();
}

asio::awaitable<Result<void>> Vm::kill() {
  auto state = state_;
  co_return co_await state->kill();
}

asio::awaitable<Result<void>> Vm::State::kill() {
  send_kill(pidfd.get());
  auto gone = co_await wait_gone(pidfd.get());
  if (gone) reap(pidfd.get());
  co_return gone;
}

Error Vm::State::explain(Error error) const {
  if (error.code != errc::connection_reset && error.code != errc::no_such_process) return error;
  std::string words = log.empty() ? std::string() : log_tail(log);
  error.message = fmt::format("{}: {}{}{}", name, error.message,
                              words.empty() ? "" : "; its last words: ", words);
  return error;
}

}  // namespace homeport::migration
