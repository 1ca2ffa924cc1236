// A client of the QEMU Machine Protocol (docs/interop/qmp-spec.txt of QEMU) over a unix stream
// socket: one JSON object per line, in both directions.
//
// A monitor serves one client at a time: while another client holds it, connect() ends with a
// timeout. Everything here runs on the executor that connect() was called on.
#pragma once

#include "migration/vm/qmp_message.h"
#include "overlay/link/unique_fd.h"
#include "policy/error.h"

#include <boost/asio/awaitable.hpp>
#include <boost/json.hpp>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace homeport::migration {

struct QmpOptions {
  std::chrono::milliseconds connect_timeout{10'000};  ///< until capabilities are agreed
  std::chrono::milliseconds command_timeout{30'000};  ///< for the reply to one command
};

/// True for an event that is waited for; sees the event's `data`.
using QmpEventPredicate = std::function<bool(const boost::json::object& data)>;

class Qmp {
 public:
  /// An event that is waited for. Made before the command that causes the event, so that the event
  /// cannot slip through between the two; keeps the first that matches.
  class Expectation {
   public:
    Expectation(Expectation&&) noexcept;
    Expectation& operator=(Expectation&&) noexcept;
    ~Expectation();

    /// The event; errc::timed_out after `timeout`, errc::connection_reset when the monitor is gone.
    boost::asio::awaitable<policy::Result<QmpEvent>> wait(std::chrono::milliseconds timeout);

   private:
    friend class Qmp;
    struct Waiter;
    explicit Expectation(std::shared_ptr<Waiter> waiter);
    std::shared_ptr<Waiter> waiter_;
  };

  /// Connects to the monitor at `path`, reads the greeting and negotiates capabilities.
  static boost::asio::awaitable<policy::Result<Qmp>> connect(std::filesystem::path path,
                                                             QmpOptions options = {});
  /// The same over a stream socket that is connected already.
  static boost::asio::awaitable<policy::Result<Qmp>> open(overlay::UniqueFd socket,
                                                          QmpOptions options = {});

  Qmp(Qmp&&) noexcept;
  Qmp& operator=(Qmp&&) noexcept;
  ~Qmp();  ///< closes the connection; the guest is not touched

  /// Executes one command and returns the `return` member of its reply. Commands may overlap;
  /// replies are matched by id. `fd` (not -1) travels with the command as SCM_RIGHTS, as `getfd`
  /// and `add-fd` want it; it stays the caller's.
  /// Errors: QEMU's own sentence under errc::protocol_error; errc::connection_reset when the
  /// monitor went away or sent what is not QMP; errc::timed_out; errc::operation_canceled.
  boost::asio::awaitable<policy::Result<boost::json::value>> execute(
      std::string command, boost::json::object arguments = {}, int fd = -1);

  Expectation expect(std::string event, QmpEventPredicate predicate = {});

  bool connected() const;
  void close();  ///< every pending call ends with errc::connection_reset
  int native_handle() const;

 private:
  class Connection;
  explicit Qmp(std::shared_ptr<Connection> connection);
  std::shared_ptr<Connection> connection_;
};

}  // namespace homeport::migration
