// An operation with a deadline.
#pragma once

#include "policy/error.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <string>
#include <utility>

namespace homeport::migration {

/// Runs `operation`; after `limit` it is cancelled and errc::timed_out with `sentence` is returned.
template <class T>
boost::asio::awaitable<policy::Result<T>> with_deadline(
    boost::asio::awaitable<policy::Result<T>> operation, std::chrono::milliseconds limit,
    std::string sentence) {
  using namespace boost::asio::experimental::awaitable_operators;
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, limit);
  auto first = co_await (std::move(operation) || timer.async_wait(boost::asio::use_awaitable));
  if (first.index() == 0) co_return std::move(std::get<0>(first));
  co_return policy::make_error(boost::system::errc::timed_out, std::move(sentence));
}

}  // namespace homeport::migration
