// Starts a coroutine that nobody waits for.
#pragma once

#include "overlay/log/log.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>

#include <exception>
#include <utility>

namespace homeport::overlay {

/// co_spawn() whose result is of no interest. An exception that escapes the coroutine leaves the
/// executor's run() and ends the program, which is started again: asio::detached would drop it, and
/// what the coroutine was there for would silently not happen any more. Cancellation is no failure.
template <class Executor, class Coroutine>
void spawn(const Executor& executor, Coroutine&& coroutine) {
  boost::asio::co_spawn(executor, std::forward<Coroutine>(coroutine),
                        [](std::exception_ptr error, auto&&...) {
                          if (!error) return;
                          try {
                            std::rethrow_exception(error);
                          } catch (const boost::system::system_error& cancelled) {
                            if (cancelled.code() != boost::asio::error::operation_aborted) throw;
                          }
                        });
}

/// The same for a coroutine that serves one peer: an exception is logged and ends that service
/// only.
template <class Executor, class Coroutine>
void spawn_service(const Executor& executor, Coroutine&& coroutine) {
  boost::asio::co_spawn(executor, std::forward<Coroutine>(coroutine),
                        [](std::exception_ptr error, auto&&...) {
                          try {
                            if (error) std::rethrow_exception(error);
                          } catch (const std::exception& problem) {
                            log::error("a connection was given up: {}", problem.what());
                          }
                        });
}

}  // namespace homeport::overlay
