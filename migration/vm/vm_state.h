// What the parts of Vm share.
#pragma once

#include "migration/vm/vm.h"

namespace homeport::migration {

struct Vm::State {
  std::string name;
  Qmp qmp;
  pid_t pid;
  overlay::UniqueFd pidfd;
  std::filesystem::path log;
  bool prepared = false;
  std::uint64_t ram_bytes = 0;  ///< of all memory backends; set by prepare_for_move()

  /// One memory backend, as QEMU describes it.
  struct Backend {
    std::string id, type, path;
    std::uint64_t size = 0;
    bool shared = false;
  };
  boost::asio::awaitable<policy::Result<std::vector<Backend>>> backends();
  boost::asio::awaitable<policy::Result<void>> prepare();
  boost::asio::awaitable<policy::Result<std::vector<RamBlock>>> ram_blocks();
  boost::asio::awaitable<policy::Result<void>> kill();

  /// Hands `peer` to QEMU and lets it migrate from or to it with `command`.
  boost::asio::awaitable<policy::Result<void>> migrate_over(std::string command,
                                                            overlay::UniqueFd peer);
  /// Waits until QEMU has finished with a migration, one way or another; its query-migrate.
  boost::asio::awaitable<policy::Result<boost::json::object>> settled();
  /// What went wrong, plus the log's last lines when the process has gone.
  policy::Error explain(policy::Error error) const;
};

}  // namespace homeport::migration
