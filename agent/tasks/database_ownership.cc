#include "agent/tasks/database_ownership.h"

#include "overlay/log/log.h"

#include <fmt/format.h>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace homeport::agent {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
namespace log = overlay::log;
using migration::CommitOutcome;
using migration::Owner;
using policy::Result;

asio::awaitable<CommitOutcome> DatabaseOwnership::pass(std::string application, std::string from,
                                                       std::string to,
                                                       policy::Generation generation) {
  Result<Outcome> outcome = Outcome::unknown;
  if (from == to) {
    outcome = co_await database_.roll_back_move(application, from, generation);
  } else {
    outcome = co_await database_.commit_move(application, from, to, generation);
  }
  if (!outcome) {
    log::warn({{"application", application}}, "control database: {}", outcome.error().message);
    const bool never_sent = outcome.error().code == errc::not_connected ||
                            outcome.error().code == errc::invalid_argument;
    co_return never_sent ? CommitOutcome::not_committed : CommitOutcome::unknown;
  }
  switch (*outcome) {
    case Outcome::committed:
      co_return CommitOutcome::committed;
    case Outcome::failed:
      co_return CommitOutcome::not_committed;
    // Refused: somebody else has written to the bindings, so what is true must be read again.
    case Outcome::refused:
    case Outcome::unknown:
      break;
  }
  co_return CommitOutcome::unknown;
}

std::optional<Owner> DatabaseOwnership::last_seen(const std::string& application) const {
  const agent::Ownership seen = agent::ownership(database_.contents(), application);
  if (seen.kind != agent::Ownership::Kind::owned) return std::nullopt;
  return Owner{seen.location, seen.generation};
}

asio::awaitable<Result<Owner>> DatabaseOwnership::owner(std::string application) {
  while (true) {
    auto synced = co_await database_.wait_synced(std::chrono::seconds(10));
    if (synced) break;
    if (synced.error().code != errc::timed_out) co_return synced.error();
  }
  if (auto owner = last_seen(application)) co_return *owner;
  co_return policy::make_error(
      errc::invalid_argument,
      fmt::format("the bindings of {} in the control database name no single location and "
                  "generation: set them right, then `homeport task resolve`",
                  application));
}

asio::awaitable<bool> DatabaseOwnership::answers(std::chrono::milliseconds timeout) {
  using namespace asio::experimental::awaitable_operators;
  if (!database_.synced()) co_return false;
  asio::steady_timer timer(co_await asio::this_coro::executor, timeout);
  auto first =
      co_await (database_.publish_status(own_status_()) || timer.async_wait(asio::use_awaitable));
  const auto* published = std::get_if<0>(&first);
  co_return published && published->has_value();
}

}  // namespace homeport::agent
