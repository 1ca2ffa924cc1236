// Real QEMU processes without an operating system: the whole guest is 13 bytes of firmware that
// count in a register and store the count to RAM. That the count goes on, and from where, tells
// whether RAM and CPU state are those of the guest.
#pragma once

#include "coroutine.h"
#include "migration/vm/qemu_driver.h"

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace homeport::migration {

inline constexpr std::uint64_t kGuestMib = 64;

/// A shared mapping of a VM's RAM.
class MappedRam {
 public:
  MappedRam(Vm& vm, const RamBlock& block);
  MappedRam(const MappedRam&) = delete;
  MappedRam& operator=(const MappedRam&) = delete;
  ~MappedRam();

  std::span<std::byte> bytes() const { return bytes_; }
  std::uint32_t count() const;  ///< the guest's

 private:
  std::span<std::byte> bytes_;
};

class QemuFixture : public testing::Test {
 protected:
  QemuFixture();
  ~QemuFixture() override;  ///< fails the test when a process or a file was left behind

  /// Writes the profile `name`; `args` is the inside of a TOML array.
  void write_profile(const std::string& name, const std::string& args,
                     const std::string& program = "/usr/bin/qemu-system-x86_64",
                     const std::string& more = "");

  VmSpec spec(const std::string& name, const std::string& profile = "counter") const;
  /// Launches; the VM is killed at the end of the test if it is still there.
  Vm launch(QemuDriver& driver, const VmSpec& spec, LaunchMode mode = LaunchMode::boot);
  RamBlock ram_block(Vm& vm);
  /// Waits until the guest has counted up from `from`, with round trips to QEMU in between.
  void wait_counting(Vm& vm, const MappedRam& ram, std::uint32_t from);

  boost::asio::io_context io_;
  std::filesystem::path directory_;
  QemuDriverOptions options_;
  QemuDriver driver_;

 private:
  std::vector<overlay::UniqueFd> processes_;
};

}  // namespace homeport::migration
