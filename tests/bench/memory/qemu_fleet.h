// The peer of the memory bench: the lab's guest between two hosts, moved by QEMU's own migration
// with its default settings, on a network of kernel bridges and VXLAN.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/lab/lab.h"

namespace homeport::lab {

class QemuFleet {
 public:
  /// As Fleet: hosts A, B and C with links of `rate_mbit`, the guest on A, a client on C.
  QemuFleet(GuestOptions guest, std::uint64_t rate_mbit);

  /// Starts the destination's QEMU on B, migrates, and ends the source's.
  void migrate();
  /// Bytes that the last migration sent, by QEMU's count.
  std::uint64_t bytes_sent() const { return bytes_sent_; }

  const Namespace& client() const { return *client_; }
  const GuestControl& guest() const { return *guest_control_; }
  const std::filesystem::path& directory() const { return directory_; }

 private:
  struct Host {
    std::string name, address;
    std::unique_ptr<Namespace> inside;
    std::unique_ptr<Process> qemu;
  };

  void join(Host& host);
  void add_client(const Host& host);
  /// `incoming` true: it waits for a migration.
  void start_qemu(Host& host, bool incoming);
  std::filesystem::path monitor(const Host& host) const {
    return directory_ / (host.name + ".qmp");
  }

  GuestOptions options_;
  std::uint64_t rate_mbit_;
  std::filesystem::path directory_;
  Cleanup cleanup_;
  Switch underlay_;
  std::vector<Host> hosts_;
  std::unique_ptr<Namespace> client_;
  std::unique_ptr<Link> client_link_;
  std::unique_ptr<GuestControl> guest_control_;
  std::uint64_t bytes_sent_ = 0;
};

}  // namespace homeport::lab
