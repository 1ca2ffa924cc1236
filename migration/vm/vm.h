// A running VM, as a move needs it: QEMU through its monitor, and its process through pidfd and
// /proc. Nothing is assumed about who started it.
//
// Everything runs on the executor the VM was made on. Dropping the object leaves the guest running,
// and operations under way go on to their end.
#pragma once

#include "migration/vm/qmp.h"
#include "migration/vm/ram_map.h"
#include "overlay/link/unique_fd.h"
#include "policy/error.h"

#include <boost/asio/awaitable.hpp>

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace homeport::migration {

struct VmStatus {
  std::string state;  ///< QEMU's RunState: "running", "paused", "prelaunch", "inmigrate", ...
  bool running = false;
};

/// Takes the next piece of the device state; an error ends the save. The span is valid until the
/// awaitable ends.
using StateSink =
    std::function<boost::asio::awaitable<policy::Result<void>>(std::span<const std::byte>)>;
/// Gives the next piece of the device state; empty at the end.
using StateSource = std::function<boost::asio::awaitable<policy::Result<std::vector<std::byte>>>()>;

inline constexpr std::uint64_t kDeviceStateLimit = 64u << 20;  ///< bytes

class Vm {
 public:
  /// `log` is where the VM's process writes to, quoted in errors; may be empty.
  Vm(std::string name, Qmp qmp, pid_t pid, overlay::UniqueFd pidfd, std::filesystem::path log);
  Vm(Vm&&) noexcept;
  Vm& operator=(Vm&&) noexcept;
  ~Vm();

  const std::string& name() const;
  pid_t pid() const;
  int pidfd() const;
  Qmp& qmp();

  boost::asio::awaitable<policy::Result<VmStatus>> status();
  /// Stops the vCPUs and drains the devices' I/O.
  boost::asio::awaitable<policy::Result<void>> stop();
  boost::asio::awaitable<policy::Result<void>> cont();

  /// Whether this VM can be moved: all guest RAM in memory-backend-file objects with share=on, no
  /// device that blocks migration or writes guest RAM behind QEMU's back (VFIO, vhost-user). The
  /// error names what was found and the option that is missing.
  boost::asio::awaitable<policy::Result<void>> check_movable();
  /// Sets what both ends of a move need (x-ignore-shared, late-block-activate, events, bandwidth).
  /// save_ and load_device_state() do it if it was not done; doing it early shortens the stop.
  boost::asio::awaitable<policy::Result<void>> prepare_for_move();

  /// Where guest RAM lies in the process, one block for each memory backend.
  boost::asio::awaitable<policy::Result<std::vector<RamBlock>>> ram_blocks();
  /// The file behind a block, open for reading and writing, obtained through the process.
  policy::Result<overlay::UniqueFd> open_ram(const RamBlock& block) const;
  /// Whether a block device does direct I/O (cache=none): its reads land in guest RAM that was
  /// pinned, unseen by write tracking.
  boost::asio::awaitable<policy::Result<bool>> has_pinned_io();

  /// Streams the state of the devices of a stopped VM into `sink`; returns its length in bytes.
  /// More than `limit` bytes, or RAM in QEMU's account, is an error: guest RAM must not travel this
  /// way. Afterwards (success or not) the VM is stopped and cont() resumes it.
  boost::asio::awaitable<policy::Result<std::uint64_t>> save_device_state(
      StateSink sink, std::uint64_t limit = kDeviceStateLimit);
  /// Loads what the other end saved into a VM launched as Incoming; its RAM must be complete.
  /// Leaves the VM stopped, disks not yet opened for writing; cont() runs it. A QEMU that refuses
  /// the stream exits; the error then quotes its log.
  boost::asio::awaitable<policy::Result<void>> load_device_state(StateSource source);

  /// Lets QEMU announce the guest's addresses (RARP, and through the guest where it can).
  boost::asio::awaitable<policy::Result<void>> announce_self();
  /// A copy of the descriptor QEMU has of the tap `device`, to read out what waits in it.
  policy::Result<overlay::UniqueFd> borrow_tap(const std::string& device) const;

  bool exited() const;
  /// Ends when the process has gone, and reaps it when it is a child of this process.
  boost::asio::awaitable<policy::Result<void>> wait_exit();
  /// Asks QEMU to end; SIGKILL when it has not within `patience`. Returns when it is gone.
  boost::asio::awaitable<policy::Result<void>> quit(
      std::chrono::milliseconds patience = std::chrono::seconds(5));
  /// SIGKILL; returns when the process is gone.
  boost::asio::awaitable<policy::Result<void>> kill();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace homeport::migration
