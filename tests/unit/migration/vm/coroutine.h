// Runs one coroutine to its end, as a test wants it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <exception>
#include <optional>

namespace homeport::migration {

/// Keeps the result itself: co_spawn() wants results that can be made from nothing.
template <class T>
boost::asio::awaitable<void> keep_result(boost::asio::awaitable<T> coroutine,
                                         std::optional<T>& result) {
  result.emplace(co_await std::move(coroutine));
}

/// The coroutine's result. What else runs on `io` goes on meanwhile, and stands still afterwards.
template <class T>
T run(boost::asio::io_context& io, boost::asio::awaitable<T> coroutine) {
  std::optional<T> result;
  std::exception_ptr thrown;
  bool ended = false;
  boost::asio::co_spawn(io, keep_result(std::move(coroutine), result),
                        [&](std::exception_ptr error) {
                          thrown = error;
                          ended = true;
                        });
  io.restart();
  while (!ended) io.run_one();
  if (thrown) std::rethrow_exception(thrown);
  return std::move(*result);
}

}  // namespace homeport::migration
