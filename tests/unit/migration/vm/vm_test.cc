#include "migration/vm/vm.h"

#include "qemu_fixture.h"

#include <gmock/gmock.h>

#include <fstream>

namespace homeport::migration {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class VmTest : public QemuFixture {};

TEST_F(VmTest, StopsAndContinues) {
  Vm vm = launch(driver_, spec("vm1"));
  MappedRam ram(vm, ram_block(vm));
  ASSERT_TRUE(run(io_, vm.cont()));
  wait_counting(vm, ram, 0);

  auto stopped = run(io_, vm.stop());
  ASSERT_TRUE(stopped) << stopped.error().message;
  auto status = run(io_, vm.status());
  EXPECT_EQ(status->state, "paused");
  std::uint32_t count = ram.count();
  ASSERT_TRUE(run(io_, vm.status()));
  EXPECT_EQ(ram.count(), count);

  ASSERT_TRUE(run(io_, vm.cont()));
  wait_counting(vm, ram, count);
}

TEST_F(VmTest, RamBlocksAreTheMemoryFile) {
  Vm vm = launch(driver_, spec("vm1"));
  RamBlock block = ram_block(vm);
  EXPECT_EQ(block.id, "ram0");
  EXPECT_EQ(block.size, kGuestMib << 20);
  EXPECT_EQ(block.offset, 0u);
  MappedRam ram(vm, block);
  ram.bytes()[0x123456] = std::byte{0x5a};
  std::ifstream file(driver_.memory_file("vm1", 1), std::ios::binary);
  file.seekg(0x123456);
  EXPECT_EQ(file.get(), 0x5a);

  // Also when the file has no name any more.
  fs::remove(driver_.memory_file("vm1", 1));
  MappedRam again(vm, ram_block(vm));
  EXPECT_EQ(again.bytes()[0x123456], std::byte{0x5a});
}

TEST_F(VmTest, SharedFileRamIsMovable) {
  Vm vm = launch(driver_, spec("vm1"));
  auto movable = run(io_, vm.check_movable());
  EXPECT_TRUE(movable) << movable.error().message;
  auto pinned = run(io_, vm.has_pinned_io());
  ASSERT_TRUE(pinned);
  EXPECT_FALSE(*pinned);
}

TEST_F(VmTest, PrivateRamIsRefusedWithTheMissingOption) {
  for (std::string profile : {"private", "not-shared"}) {
    Vm vm = launch(driver_, spec("vm-" + profile, profile));
    auto movable = run(io_, vm.check_movable());
    ASSERT_FALSE(movable) << profile;
    EXPECT_EQ(movable.error().code, boost::system::errc::not_supported);
    EXPECT_THAT(movable.error().message, HasSubstr("memory-backend-file,share=on"));
    EXPECT_THAT(movable.error().message, HasSubstr("share=off"));
  }
}

TEST_F(VmTest, DirectDiskIsPinnedIo) {
  fs::path disk = directory_ / "disk.img";
  std::ofstream(disk) << "";
  fs::resize_file(disk, 1u << 20);
  write_profile("direct", R"("-machine", "none", "-nodefaults", "-display", "none", "-blockdev",
    "driver=raw,node-name=d,cache.direct=on,file.driver=file,file.filename=)" +
                              disk.string() + R"(")");
  Vm vm = launch(driver_, spec("vm1", "direct"));
  auto pinned = run(io_, vm.has_pinned_io());
  ASSERT_TRUE(pinned) << pinned.error().message;
  EXPECT_TRUE(*pinned);
}

}  // namespace
}  // namespace homeport::migration
