// The state of a VM's devices, carried by QEMU's own migration without the guest's RAM
// (capability x-ignore-shared).
#include "migration/vm/deadline.h"
#include "migration/vm/json_access.h"
#include "migration/vm/process.h"
#include "migration/vm/vm_state.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>

namespace homeport::migration {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
namespace json = boost::json;
using asio::local::stream_protocol;
using policy::make_error;
using policy::Result;

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kPiece = 256u << 10;  // bytes
constexpr std::chrono::milliseconds kSettleTimeout{10'000};
constexpr std::chrono::milliseconds kLoadTimeout{30'000};  // from the last byte on
constexpr const char* kFdName = "homeport-device-state";

struct SocketPair {
  stream_protocol::socket ours;
  overlay::UniqueFd qemus;
};

Result<SocketPair> make_socket_pair(const asio::any_io_executor& executor) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) < 0) {
    return policy::errno_error("cannot make a socket pair for the device state");
  }
  SocketPair pair{stream_protocol::socket(executor), overlay::UniqueFd(ends[1])};
  pair.ours.assign(stream_protocol(), ends[0]);
  return pair;
}

bool is_final(std::string_view status) {
  return status.empty() || status == "none" || status == "completed" || status == "failed" ||
         status == "cancelled";
}

}  // namespace

asio::awaitable<Result<void>> Vm::prepare_for_move() {
  auto state = state_;
  co_return co_await state->prepare();
}

asio::awaitable<Result<void>> Vm::State::prepare() {
  if (prepared) co_return Result<void>{};
  auto found = co_await backends();
  if (!found) co_return found.error();

  // late-block-activate: an incoming VM leaves disks alone until cont(), so that a roll-back can
  // still take them at the source.
  json::array capabilities;
  for (const char* name : {"x-ignore-shared", "late-block-activate", "events"}) {
    json::object capability;
    capability["capability"] = name;
    capability["state"] = true;
    capabilities.push_back(capability);
  }
  json::object arguments;
  arguments["capabilities"] = capabilities;
  auto set = co_await qmp.execute("migrate-set-capabilities", arguments);
  if (!set) co_return explain(set.error());

  json::object parameters;
  parameters["max-bandwidth"] = std::int64_t{1} << 40;  // the channel sets the pace, not QEMU
  set = co_await qmp.execute("migrate-set-parameters", parameters);
  if (!set) co_return explain(set.error());

  ram_bytes = 0;
  for (const Backend& backend : *found) ram_bytes += backend.size;
  prepared = true;
  co_return Result<void>{};
}

asio::awaitable<Result<void>> Vm::State::migrate_over(std::string command, overlay::UniqueFd peer) {
  json::object arguments;
  arguments["fdname"] = kFdName;
  auto passed = co_await qmp.execute("getfd", arguments, peer.get());
  if (!passed) co_return explain(passed.error());
  peer.reset();  // QEMU's copy must be the only one, or its end would never be seen
  json::object target;
  target["uri"] = std::string("fd:") + kFdName;
  auto begun = co_await qmp.execute(std::move(command), target);
  if (!begun) {
    if (!begun.error().cancelled()) co_await qmp.execute("closefd", arguments);
    co_return explain(begun.error());
  }
  co_return Result<void>{};
}

asio::awaitable<Result<json::object>> Vm::State::settled() {
  asio::steady_timer pause(co_await asio::this_coro::executor);
  auto deadline = std::chrono::steady_clock::now() + kSettleTimeout;
  while (true) {
    auto migration = co_await qmp.execute("query-migrate");
    if (!migration) co_return explain(migration.error());
    auto run = co_await qmp.execute("query-status");
    if (!run) co_return explain(run.error());
    const json::object* progress = migration->if_object();
    const json::object* status = run->if_object();
    // In "finish-migrate" QEMU refuses cont.
    if (progress && status && is_final(text_at(*progress, "status")) &&
        text_at(*status, "status") != "finish-migrate") {
      co_return *progress;
    }
    if (std::chrono::steady_clock::now() > deadline) {
      co_return make_error(errc::timed_out, name + ": QEMU does not finish its migration");
    }
    // There is no event for the run state that cont needs; it follows within microseconds.
    pause.expires_after(std::chrono::milliseconds(1));
    co_await pause.async_wait(kTuple);
  }
}

asio::awaitable<Result<std::uint64_t>> Vm::save_device_state(StateSink sink, std::uint64_t limit) {
  auto state = state_;
  auto prepared = co_await state->prepare();
  if (!prepared) co_return prepared.error();
  auto pair = make_socket_pair(co_await asio::this_coro::executor);
  if (!pair) co_return pair.error();

  // When cancelled, the command may have reached QEMU all the same: see below.
  Result<void> outcome = co_await state->migrate_over("migrate", std::move(pair->qemus));
  if (!outcome && !outcome.error().cancelled()) co_return outcome.error();

  std::uint64_t saved = 0;
  std::vector<std::byte> piece(kPiece);
  while (outcome) {
    auto [failed, size] = co_await pair->ours.async_read_some(asio::buffer(piece), kTuple);
    if (failed == asio::error::eof) break;
    if (failed == asio::error::operation_aborted) {
      outcome = make_error(errc::operation_canceled, "saving the device state was cancelled");
    } else if (failed) {
      outcome = make_error(errc::io_error, "reading the device state: " + failed.message());
    } else if ((saved += size) > limit) {
      outcome = make_error(
          errc::file_too_large,
          fmt::format("the device state of {} is more than {} bytes: guest RAM is in QEMU's stream "
                      "(is it memory-backend-file,share=on?), or a device has much memory of its "
                      "own, such as a graphics card",
                      state->name, limit));
    } else {
      outcome = co_await sink(std::span(piece).first(size));
    }
  }

  // From here on also after a cancellation: QEMU must not be left in the middle.
  bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  if (!outcome) {
    co_await state->qmp.execute("migrate_cancel");
    pair->ours.close();
  }
  auto final = co_await state->settled();
  co_await asio::this_coro::throw_if_cancelled(throws);
  if (!outcome) co_return outcome.error();
  if (!final) co_return final.error();

  if (text_at(*final, "status") != "completed") {
    std::string why = text_at(*final, "error-desc");
    co_return make_error(errc::io_error,
                         fmt::format("QEMU did not save the device state of {}: {} {}", state->name,
                                     text_at(*final, "status"), why));
  }
  const json::object* ram = object_at(*final, "ram");
  if (ram && number_at(*ram, "total").value_or(0) >= state->ram_bytes) {
    co_return make_error(
        errc::not_supported,
        fmt::format("guest RAM is in QEMU's stream of {}: this QEMU does not count "
                    "its RAM as shared; use memory-backend-file,share=on",
                    state->name));
  }
  co_return saved;
}

asio::awaitable<Result<void>> Vm::load_device_state(StateSource source) {
  auto state = state_;
  auto prepared = co_await state->prepare();
  if (!prepared) co_return prepared.error();
  auto pair = make_socket_pair(co_await asio::this_coro::executor);
  if (!pair) co_return pair.error();

  auto ended = state->qmp.expect("MIGRATION", [](const json::object& data) {
    std::string status = text_at(data, "status");
    return status == "completed" || status == "failed";
  });
  auto begun = co_await state->migrate_over("migrate-incoming", std::move(pair->qemus));
  if (!begun) co_return begun.error();

  while (true) {
    auto piece = co_await source();
    if (!piece) co_return piece.error();  // QEMU sees its stream end early, and gives up
    if (piece->empty()) break;
    auto [failed, size] = co_await asio::async_write(pair->ours, asio::buffer(*piece), kTuple);
    if (failed == asio::error::operation_aborted) {
      co_return make_error(errc::operation_canceled, "loading the device state was cancelled");
    }
    if (failed) break;  // QEMU's own reason follows
  }
  boost::system::error_code ignored;
  pair->ours.shutdown(stream_protocol::socket::shutdown_send, ignored);

  auto event = co_await ended.wait(kLoadTimeout);
  if (!event) co_return state->explain(event.error());
  if (text_at(event->data, "status") != "completed") {
    // It says why in its log, and exits.
    co_await with_deadline(wait_gone(state->pidfd.get()), kSettleTimeout, "QEMU does not exit");
    reap(state->pidfd.get());
    co_return state->explain(make_error(errc::connection_reset, "QEMU refused the device state"));
  }
  co_return Result<void>{};
}

}  // namespace homeport::migration
