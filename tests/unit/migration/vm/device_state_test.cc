// The state of the devices, between real QEMU processes.
#include "qemu_fixture.h"

#include <gmock/gmock.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cstring>

namespace homeport::migration {
namespace {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using policy::Result;
using testing::HasSubstr;

using Pieces = std::vector<std::vector<std::byte>>;

StateSink keep_in(Pieces& pieces) {
  return [&pieces](std::span<const std::byte> piece) -> asio::awaitable<Result<void>> {
    pieces.emplace_back(piece.begin(), piece.end());
    co_return Result<void>{};
  };
}

StateSource from(const Pieces& pieces) {
  return [&pieces,
          next = std::size_t{0}]() mutable -> asio::awaitable<Result<std::vector<std::byte>>> {
    if (next == pieces.size()) co_return std::vector<std::byte>{};
    co_return pieces[next++];
  };
}

class DeviceStateTest : public QemuFixture {
 protected:
  Vm counting(const std::string& name) {
    Vm vm = launch(driver_, spec(name));
    MappedRam ram(vm, ram_block(vm));
    EXPECT_TRUE(run(io_, vm.cont()));
    wait_counting(vm, ram, 1'000'000);
    return vm;
  }

  /// Moves the guest of `source` into a new process, and ends the old one.
  Vm move(Vm source, const std::string& name) {
    Vm destination = launch(driver_, spec(name), LaunchMode::incoming);
    EXPECT_TRUE(run(io_, source.prepare_for_move()));
    EXPECT_TRUE(run(io_, destination.prepare_for_move()));
    MappedRam from_ram(source, ram_block(source));
    MappedRam to_ram(destination, ram_block(destination));

    EXPECT_TRUE(run(io_, source.stop()));
    std::uint32_t count = from_ram.count();
    std::memcpy(to_ram.bytes().data(), from_ram.bytes().data(), from_ram.bytes().size());
    Pieces pieces;
    auto saved = run(io_, source.save_device_state(keep_in(pieces)));
    EXPECT_TRUE(saved) << saved.error().message;
    auto loaded = run(io_, destination.load_device_state(from(pieces)));
    EXPECT_TRUE(loaded) << loaded.error().message;
    if (!saved || !loaded) throw std::runtime_error("the state did not get across");
    RecordProperty("device_state_bytes", static_cast<int>(*saved));

    EXPECT_EQ(from_ram.count(), count);
    EXPECT_EQ(to_ram.count(), count);
    auto status = run(io_, destination.status());
    EXPECT_FALSE(status->running) << "it runs before it was told to";
    EXPECT_TRUE(run(io_, source.quit()));
    EXPECT_TRUE(run(io_, destination.cont()));
    // The register it counts in came along: it does not begin again.
    EXPECT_GE(to_ram.count(), count);
    wait_counting(destination, to_ram, count);
    return destination;
  }

  void expect_runs_on(Vm& vm) {
    MappedRam ram(vm, ram_block(vm));
    std::uint32_t count = ram.count();
    auto resumed = run(io_, vm.cont());
    ASSERT_TRUE(resumed) << resumed.error().message;
    wait_counting(vm, ram, count);
  }
};

TEST_F(DeviceStateTest, AGuestMovesThereAndBack) {
  Vm there = move(counting("vm1"), "vm2");
  ASSERT_TRUE(driver_.remove("vm1"));
  Vm back = move(std::move(there), "vm1");
  EXPECT_TRUE(run(io_, back.status())->running);
}

TEST_F(DeviceStateTest, AfterACompletedSaveTheSourceCanRunOnAndSaveAgain) {
  Vm vm = counting("vm1");
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(run(io_, vm.stop()));
    Pieces pieces;
    auto saved = run(io_, vm.save_device_state(keep_in(pieces)));
    ASSERT_TRUE(saved) << saved.error().message;
    EXPECT_LT(*saved, 2u << 20);
    expect_runs_on(vm);
  }
}

TEST_F(DeviceStateTest, MoreThanTheLimitIsRefusedAndTheSourceRunsOn) {
  Vm vm = counting("vm1");
  ASSERT_TRUE(run(io_, vm.stop()));
  Pieces pieces;
  auto saved = run(io_, vm.save_device_state(keep_in(pieces), 1'000));
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code, errc::file_too_large);
  EXPECT_THAT(saved.error().message, HasSubstr("guest RAM is in QEMU's stream"));
  expect_runs_on(vm);
}

TEST_F(DeviceStateTest, RamThatIsNotSharedIsFoundInTheStream) {
  Vm vm = launch(driver_, spec("vm1", "not-shared"));
  ASSERT_TRUE(run(io_, vm.cont()));
  ASSERT_TRUE(run(io_, vm.stop()));
  Pieces pieces;
  auto saved = run(io_, vm.save_device_state(keep_in(pieces)));
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message, HasSubstr("guest RAM is in QEMU's stream"));
}

TEST_F(DeviceStateTest, AFailingSinkEndsTheSaveAndTheSourceRunsOn) {
  Vm vm = counting("vm1");
  ASSERT_TRUE(run(io_, vm.stop()));
  auto saved = run(
      io_, vm.save_device_state([](std::span<const std::byte>) -> asio::awaitable<Result<void>> {
        co_return policy::make_error(errc::broken_pipe, "the peer is gone");
      }));
  ASSERT_FALSE(saved);
  EXPECT_THAT(saved.error().message, HasSubstr("the peer is gone"));
  expect_runs_on(vm);
}

TEST_F(DeviceStateTest, ASaveCanBeCancelledAndTheSourceRunsOn) {
  Vm vm = counting("vm1");
  ASSERT_TRUE(run(io_, vm.stop()));
  asio::cancellation_signal signal;
  StateSink stuck = [&](std::span<const std::byte>) -> asio::awaitable<Result<void>> {
    asio::post(io_, [&] { signal.emit(asio::cancellation_type::terminal); });
    asio::steady_timer never(io_, asio::steady_timer::time_point::max());
    auto [cancelled] = co_await never.async_wait(asio::as_tuple(asio::use_awaitable));
    co_return policy::make_error(errc::operation_canceled, cancelled.message());
  };
  std::optional<Result<std::uint64_t>> saved;
  asio::co_spawn(io_, vm.save_device_state(stuck),
                 asio::bind_cancellation_slot(
                     signal.slot(),
                     [&](std::exception_ptr, Result<std::uint64_t> result) { saved = result; }));
  io_.restart();
  while (!saved) io_.run_one();
  ASSERT_FALSE(*saved);
  EXPECT_TRUE(saved->error().cancelled()) << saved->error().message;
  expect_runs_on(vm);
}

TEST_F(DeviceStateTest, ADeadSourceQemuEndsTheSave) {
  Vm vm = counting("vm1");
  ASSERT_TRUE(run(io_, vm.stop()));
  ASSERT_TRUE(run(io_, vm.kill()));
  Pieces pieces;
  auto saved = run(io_, vm.save_device_state(keep_in(pieces)));
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code, errc::connection_reset);
}

TEST_F(DeviceStateTest, AStreamThatIsNoneIsRefusedInQemusWords) {
  Vm vm = launch(driver_, spec("vm1"), LaunchMode::incoming);
  Pieces pieces{std::vector<std::byte>(1'000, std::byte{0x55})};
  auto loaded = run(io_, vm.load_device_state(from(pieces)));
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().message, HasSubstr("Not a migration stream"));
  EXPECT_TRUE(vm.exited());
}

TEST_F(DeviceStateTest, AStreamThatBreaksOffIsRefused) {
  Vm source = counting("vm1");
  ASSERT_TRUE(run(io_, source.stop()));
  Pieces pieces;
  ASSERT_TRUE(run(io_, source.save_device_state(keep_in(pieces))));
  Vm destination = launch(driver_, spec("vm2"), LaunchMode::incoming);
  // Within the first device's state: behind the last one there is still a description of all of it,
  // without which QEMU does well.
  pieces.resize(1);
  pieces[0].resize(100);
  auto loaded = run(io_, destination.load_device_state(from(pieces)));
  ASSERT_FALSE(loaded);
  expect_runs_on(source);
}

}  // namespace
}  // namespace homeport::migration
