#include "agent/control/database.h"

#include "agent/control/database_impl.h"
#include "overlay/log/log.h"
#include "overlay/spawn.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <chrono>

namespace homeport::agent {

namespace asio = boost::asio;
namespace errc = boost::system::errc;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

policy::Error cancelled() {
  return policy::make_error(errc::operation_canceled,
                            "the operation on the database was cancelled");
}

constexpr char kRightsHint[] =
    "; a host's certificate may only read, but for the host's own rows: run this on the database's "
    "machine, or through its socket";

policy::Error server_error(const std::string& message) {
  bool rights = message.find("permission error") != std::string::npos;
  return policy::make_error(
      rights ? errc::permission_denied : errc::operation_not_permitted,
      "the control database did not accept the change: " + message + (rights ? kRightsHint : ""));
}

}  // namespace

ControlDatabase::Impl::Impl(asio::any_io_executor the_executor, DatabaseOptions the_options)
    : executor(std::move(the_executor)), options(std::move(the_options)), read_timer_(executor) {
  // Not the tables that carry the server's own settings.
  if (options.session.tables.empty()) options.session.tables = tables.names();
  if (options.host.empty()) return;
  tables.set_home(options.host);
  interest_.emplace(options.host, options.linger, options.carried);
  conditions_ = conditions_of({}, options.host, kSmallFleet + 1);
  options.session.conditions = conditions_;
}

void ControlDatabase::Impl::connect_session() {
  session = std::make_unique<overlay::ovsdb::Session>(executor, options.session);
  std::weak_ptr<Impl> weak = weak_from_this();
  session->set_on_changes([weak](auto changes, bool more) {
    if (auto self = weak.lock()) self->on_changes(std::move(changes), more);
  });
  session->set_on_state([weak](bool synced) {
    if (auto self = weak.lock()) self->on_state(synced);
  });
  session->set_on_conditions([weak] {
    if (auto self = weak.lock()) self->on_conditions();
  });
}

void ControlDatabase::Impl::close() {
  closed_ = true;
  session.reset();
  read_timer_.cancel();
  for (auto* timer : pauses_) timer->cancel();
}

void ControlDatabase::Impl::report(const policy::Error& problem) {
  overlay::log::warn("{}", problem.message);
}

void ControlDatabase::Impl::on_changes(std::vector<overlay::ovsdb::RowChange> changes, bool more) {
  for (const auto& change : changes) {
    read_.monitored(change);
    if (const auto* problem = tables.apply(change)) report(*problem);
  }
  changed_ = true;
  if (more) return;
  if (interest_ &&
      may_concern(tables.changes(), tables.contents(), interest_->host(), interest_->concern())) {
    follow_interest();
  }
  if (synced()) announce_change();
}

void ControlDatabase::Impl::on_state(bool connected) {
  if (!connected) {
    if (complete_) tell_state(false);
    return;
  }
  follow_interest();
  if (complete_) {
    tell_state(true);
  } else {
    complete();
  }
}

void ControlDatabase::Impl::on_conditions() {
  settled_ = true;
  in_force_ = conditions_;
  follow_interest();                 // The rows that came may be about more.
  if (settled()) announce_change();  // Somebody may have waited for this.
  complete();
}

void ControlDatabase::Impl::follow_interest() {
  if (!interest_) return;
  const auto now = Interest::Clock::now();
  std::erase_if(expected_, [&](const auto& item) { return item.second.until < now; });
  auto following =
      interest_->follow(tables.contents(), follow_too ? follow_too() : std::set<std::string>(),
                        expected_, in_force_, now);
  if (read_.want(following.readings)) {
    changed_ = true;
    if (synced()) announce_change();
  }
  read_on();
  if (following.conditions == conditions_) return;
  conditions_ = std::move(following.conditions);
  settled_ = false;
  session->set_conditions(conditions_);
}

void ControlDatabase::Impl::expect(const std::string& application, KnownRows rows) {
  auto known = expected_.find(application);
  if (!interest_ || (known == expected_.end() && expected_.size() >= kMostExpected)) return;
  const auto until = Interest::Clock::now() + kExpected;
  if (known != expected_.end() && known->second.rows == rows) {
    known->second.until = until;
    return;
  }
  expected_[application] = {std::move(rows), until};
  follow_interest();
}

void ControlDatabase::Impl::read_on() {
  if (closed_ || read_.under_way()) return;
  if (auto request = read_.next(ReadRows::Clock::now())) {
    overlay::spawn(executor, read(*std::move(request)));
    return;
  }
  const auto due = read_.due();
  if (due == ReadRows::Clock::time_point::max() || due == read_timer_.expiry()) return;
  read_timer_.expires_at(due);
  read_timer_.async_wait([weak = weak_from_this()](boost::system::error_code cancelled) {
    auto self = weak.lock();
    if (self && !cancelled) self->read_on();
  });
}

asio::awaitable<void> ControlDatabase::Impl::read(overlay::ovsdb::ReadRequest request) {
  auto self = shared_from_this();
  const auto answers = co_await session->read(std::move(request));
  if (closed_) co_return;
  if (!answers && answers.error().code != errc::resource_unavailable_try_again) {
    report(answers.error());
  }
  const bool waited = !settled();
  if (read_.take(answers, ReadRows::Clock::now(), [this](const auto& it) { report(it); })) {
    changed_ = true;
  }
  follow_interest();  // What was read may be about more.
  if (settled() && (waited || changed_)) announce_change();
  complete();
}

/// Nobody is told of contents before they are all there: a datapath that follows half of them would
/// forget the other half, which it may be carrying.
void ControlDatabase::Impl::complete() {
  if (complete_ || !settled_ || !read_.settled() || !session->synced()) return;
  complete_ = true;
  tell_state(true);
}

void ControlDatabase::Impl::tell_state(bool synced) {
  if (synced) {
    for (auto* timer : pauses_) timer->cancel();
  }
  if (std::exchange(was_synced_, synced) && !synced) ++disconnections;
  if (state_callback) state_callback(synced);
  if (synced && changed_) announce_change();
}

void ControlDatabase::Impl::announce_change() {
  if (change_posted_ || !change_callback) return;
  change_posted_ = true;
  asio::post(executor, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self || self->closed_) return;
    self->change_posted_ = false;
    self->changed_ = false;
    self->change_callback();
    self->tables.forget_changes();
  });
}

asio::awaitable<bool> ControlDatabase::Impl::pause(milliseconds duration) {
  auto self = shared_from_this();
  asio::steady_timer timer(executor, duration);
  pauses_.insert(&timer);
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  pauses_.erase(&timer);
  auto state = co_await asio::this_coro::cancellation_state;
  co_return !closed_ && state.cancelled() == asio::cancellation_type::none;
}

asio::awaitable<policy::Result<void>> ControlDatabase::Impl::wait_synced(milliseconds timeout) {
  auto self = shared_from_this();
  const auto deadline = Clock::now() + timeout;
  auto connected = co_await session->wait_synced(timeout);
  while (connected && !closed_ && !synced()) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) {
      co_return policy::make_error(
          errc::timed_out,
          fmt::format("the control database at {} did not send what concerns {} in time",
                      options.session.remotes, options.host));
    }
    const bool go_on = co_await pause(left);  // ends when they are complete
    if (!go_on) co_return cancelled();
    if (!session->synced()) connected = co_await session->wait_synced(left);
  }
  if (closed_) co_return cancelled();
  co_return connected;
}

asio::awaitable<policy::Result<void>> ControlDatabase::Impl::until_done(Plan plan) {
  auto self = shared_from_this();
  auto deadline = Clock::now() + options.operation_timeout;
  milliseconds delay(10);
  std::string reason;
  while (true) {
    auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) {
      co_return policy::make_error(
          errc::timed_out,
          fmt::format("the control database did not take the change within {} s: {}",
                      options.operation_timeout.count() / 1000.0, reason));
    }
    auto synced = co_await wait_synced(left);
    if (closed_) co_return cancelled();
    if (!synced) co_return synced.error();
    auto transaction = plan(tables.contents());
    if (!transaction) co_return transaction.error();
    if (!*transaction) co_return policy::Result<void>();
    auto result = co_await session->transact(**std::move(transaction));
    if (closed_) co_return cancelled();
    if (!result && result.error().code != errc::not_connected) co_return result.error();
    if (result && result->outcome == Outcome::committed) co_return policy::Result<void>();
    if (result && result->outcome == Outcome::failed) co_return server_error(result->message);
    reason = result ? result->message : result.error().message;
    // Somebody else writes the same rows, or the connection is being made again.
    bool go_on = co_await pause(delay);
    if (!go_on) co_return cancelled();
    delay = std::min(delay * 2, milliseconds(1000));
  }
}

asio::awaitable<policy::Result<Outcome>> ControlDatabase::Impl::write_ownership(
    std::string application, std::string from, std::string to, policy::Generation generation) {
  auto self = shared_from_this();
  bool moves = from != to;
  Transaction transaction;
  transaction.comment =
      fmt::format("{} {} from {} to {}, generation {}", moves ? "move" : "roll back", application,
                  from, to, generation + 1);
  for (const auto* binding : tables.contents().bindings_of(application)) {
    auto expect = [&](const char* column, boost::json::value value) {
      transaction.expectations.push_back(
          {Binding::kTable, binding->uuid, column, std::move(value)});
    };
    expect("location", boost::json::value(from));
    expect("generation", static_cast<std::int64_t>(generation));
    boost::json::object values{{"generation", static_cast<std::int64_t>(generation + 1)}};
    if (moves) values["location"] = to;
    transaction.updates.push_back({Binding::kTable, binding->uuid, std::move(values)});
  }
  if (transaction.updates.empty()) {
    co_return policy::make_error(
        errc::invalid_argument,
        fmt::format("application {} has no binding in the control database to move", application));
  }
  auto result = co_await session->transact(std::move(transaction));
  if (!result) {
    // The transaction may be on its way although nobody waits for it any more.
    if (result.error().cancelled()) co_return Outcome::unknown;
    co_return result.error();
  }
  if (result->outcome == Outcome::failed) {
    overlay::log::warn({{"application", application}},
                       "the control database did not accept the new owner of application {}: {}",
                       application, result->message);
  }
  if (result->outcome == Outcome::unknown && !closed_ && session->synced()) {
    // The server answered, and everything it had before the answer is here.
    switch (read_move(tables.contents(), application, from, to, generation)) {
      case MoveTruth::moved:
        co_return moves ? Outcome::committed : Outcome::refused;
      case MoveTruth::rolled_back:
        co_return moves ? Outcome::refused : Outcome::committed;
      case MoveTruth::superseded:
        co_return Outcome::refused;
      case MoveTruth::untouched:
        break;
    }
  }
  co_return result->outcome;
}

ControlDatabase::ControlDatabase(asio::any_io_executor executor, DatabaseOptions options)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(options))) {
  impl_->connect_session();
}

ControlDatabase::~ControlDatabase() {
  impl_->close();
}

void ControlDatabase::on_change(std::function<void()> callback) {
  impl_->change_callback = std::move(callback);
}

std::uint64_t ControlDatabase::disconnections() const {
  return impl_->disconnections;
}

void ControlDatabase::on_state(std::function<void(bool)> callback) {
  impl_->state_callback = std::move(callback);
}

std::string ControlDatabase::problem() const {
  return impl_->session->problem();
}

void ControlDatabase::follow_too(std::function<std::set<std::string>()> applications) {
  impl_->follow_too = std::move(applications);
}

void ControlDatabase::expect(const std::string& application, KnownRows rows) {
  impl_->expect(application, std::move(rows));
}

void ControlDatabase::start() {
  impl_->session->start();
}

void ControlDatabase::review_interest() {
  // Nothing is given up while nobody hears of moves.
  if (impl_->synced()) impl_->follow_interest();
}

const Changes& ControlDatabase::changes() const {
  return impl_->tables.changes();
}

bool ControlDatabase::synced() const {
  return impl_->synced();
}

bool ControlDatabase::settled() const {
  return impl_->settled();
}

asio::awaitable<policy::Result<void>> ControlDatabase::wait_synced(milliseconds timeout) {
  return impl_->wait_synced(timeout);
}

const Contents& ControlDatabase::contents() const {
  return impl_->tables.contents();
}

asio::awaitable<policy::Result<Outcome>> ControlDatabase::commit_move(
    std::string application, std::string from, std::string to, policy::Generation generation) {
  if (from == to) {
    co_return policy::make_error(
        errc::invalid_argument,
        fmt::format("application {} cannot move from {} to {}", application, from, to));
  }
  co_return co_await impl_->write_ownership(std::move(application), std::move(from), std::move(to),
                                            generation);
}

asio::awaitable<policy::Result<Outcome>> ControlDatabase::roll_back_move(
    std::string application, std::string from, policy::Generation generation) {
  auto to = from;
  return impl_->write_ownership(std::move(application), std::move(from), std::move(to), generation);
}

}  // namespace homeport::agent
