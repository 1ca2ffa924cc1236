#include "overlay/ovsdb/session.h"

#include "overlay/ovsdb/reader.h"
#include "overlay/ovsdb/replica.h"
#include "overlay/ovsdb/thread.h"

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <cstdint>
#include <list>
#include <utility>

namespace homeport::overlay::ovsdb {

namespace asio = boost::asio;
namespace errc = boost::system::errc;

namespace {

/// A coroutine that waits to be told something.
template <class T>
struct Waiter {
  explicit Waiter(const asio::any_io_executor& executor)
      : timer(executor, asio::steady_timer::time_point::max()) {}
  void tell(T value) {
    result = std::move(value);
    timer.cancel();
  }
  asio::steady_timer timer;
  std::optional<T> result;
};

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

}  // namespace

const char* to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::committed:
      return "committed";
    case Outcome::refused:
      return "refused";
    case Outcome::failed:
      return "failed";
    case Outcome::unknown:
      return "unknown";
  }
  return "unknown";
}

/// The part on the executor. The replica's events arrive here by post(), which keeps their order.
class Session::Impl : public std::enable_shared_from_this<Session::Impl> {
 public:
  Impl(asio::any_io_executor executor, SessionOptions options)
      : executor_(std::move(executor)), options_(std::move(options)), thread_(OvsThread::get()) {
    if (options_.remotes.empty()) {
      throw boost::system::system_error(
          errc::make_error_code(errc::invalid_argument),
          "no control database is configured: name one, such as unix:PATH or ssl:ADDRESS:PORT");
    }
    if (options_.tls) {
      thread_->use_tls(*options_.tls);
    } else if (options_.remotes.find("ssl:") != std::string::npos) {
      throw boost::system::system_error(
          errc::make_error_code(errc::invalid_argument),
          "the control database " + options_.remotes +
              " needs a private key, a certificate and a CA certificate");
    }
  }

  void make_replica() {
    thread_->call([this] { replica_ = std::make_shared<Replica>(options_, events()); });
    thread_->add(replica_);
  }

  void start() {
    thread_->post([replica = replica_, remotes = options_.remotes] { replica->connect(remotes); });
  }

  void close() {
    closed_ = true;
    thread_->remove(replica_);
    if (reader_) thread_->remove(reader_);
    for (auto& [id, waiter] : reads_) {
      waiter->tell(policy::make_error(errc::operation_canceled, "the session was closed"));
    }
    for (auto& [id, waiter] : transactions_) {
      waiter->tell(
          TransactResult{Outcome::unknown,
                         "the session with the control database was closed before it answered",
                         {}});
    }
    for (auto& waiter : sync_waiters_) {
      waiter->tell(policy::make_error(errc::operation_canceled, "the session was closed"));
    }
  }

  asio::awaitable<policy::Result<void>> wait_synced(std::chrono::milliseconds timeout) {
    auto self = shared_from_this();  // The session may be closed meanwhile.
    if (synced_) co_return policy::Result<void>();
    auto waiter = std::make_shared<Waiter<policy::Result<void>>>(executor_);
    waiter->timer.expires_after(timeout);
    auto place = sync_waiters_.insert(sync_waiters_.end(), waiter);
    auto [error] = co_await waiter->timer.async_wait(kAwait);
    sync_waiters_.erase(place);
    if (waiter->result) co_return *waiter->result;
    if (error == asio::error::operation_aborted) {
      co_return policy::make_error(errc::operation_canceled,
                                   "waiting for the control database was cancelled");
    }
    co_return policy::make_error(
        errc::timed_out,
        fmt::format(
            "the control database at {} was not reached in time{}{}: is its server running, "
            "and is it the right address?",
            options_.remotes, problem().empty() ? "" : ": ", problem()));
  }

  asio::awaitable<policy::Result<TransactResult>> transact(Transaction transaction) {
    auto self = shared_from_this();
    auto waiter = std::make_shared<Waiter<policy::Result<TransactResult>>>(executor_);
    auto id = next_id_++;
    transactions_.emplace(id, waiter);
    thread_->post([replica = replica_, id, transaction = std::move(transaction)] {
      replica->transact(id, transaction);
    });
    co_await waiter->timer.async_wait(kAwait);
    transactions_.erase(id);
    if (waiter->result) co_return *std::move(waiter->result);
    co_return policy::make_error(errc::operation_canceled,
                                 "waiting for the control database's answer was cancelled: the "
                                 "transaction may have happened");
  }

  asio::awaitable<policy::Result<Answers>> read(ReadRequest request) {
    auto self = shared_from_this();
    if (!reader_) make_reader();
    auto waiter = std::make_shared<Waiter<policy::Result<Answers>>>(executor_);
    auto id = next_id_++;
    reads_.emplace(id, waiter);
    thread_->post([reader = reader_, id, request = std::move(request)]() mutable {
      reader->read(id, std::move(request));
    });
    co_await waiter->timer.async_wait(kAwait);
    reads_.erase(id);
    if (waiter->result) co_return *std::move(waiter->result);
    co_return policy::make_error(errc::operation_canceled,
                                 "reading from the control database was cancelled");
  }

  void set_conditions(Conditions conditions) {
    thread_->post(
        [replica = replica_, number = ++conditions_number_, conditions = std::move(conditions)] {
          replica->set_conditions(number, conditions);
        });
  }

  bool synced() const { return synced_; }
  std::string problem() const { return synced_ ? std::string() : OvsThread::complaint(); }

  std::function<void(std::vector<RowChange>, bool)> on_changes;
  std::function<void(bool)> on_state;
  std::function<void()> on_conditions;

 private:
  /// Runs `action(impl)` on the executor, unless the session is closed by then.
  template <class Action>
  static void deliver(const std::weak_ptr<Impl>& weak, const asio::any_io_executor& executor,
                      Action action) {
    asio::post(executor, [weak, action = std::move(action)]() mutable {
      auto self = weak.lock();
      if (self && !self->closed_) action(*self);
    });
  }

  void make_reader() {
    std::weak_ptr<Impl> weak = weak_from_this();
    auto answered = [weak, executor = executor_](Reader::Id id, policy::Result<Answers> answers) {
      deliver(weak, executor, [id, answers = std::move(answers)](Impl& self) mutable {
        auto found = self.reads_.find(id);
        if (found != self.reads_.end()) found->second->tell(std::move(answers));
      });
    };
    reader_ = std::make_shared<Reader>(options_, std::move(answered));
    thread_->add(reader_);
  }

  Replica::Events events() {
    std::weak_ptr<Impl> weak = weak_from_this();
    auto executor = executor_;
    return {[weak, executor](std::vector<RowChange> changes, bool more) {
              deliver(weak, executor, [changes = std::move(changes), more](Impl& self) mutable {
                self.thread_->post([replica = self.replica_] { replica->acknowledge_slice(); });
                if (self.on_changes) self.on_changes(std::move(changes), more);
              });
            },
            [weak, executor, thread = thread_.get()](bool synced) {
              thread->drain_log();  // so that problem() knows why
              deliver(weak, executor, [synced](Impl& self) { self.change_state(synced); });
            },
            [weak, executor](Replica::TransactionId id, policy::Result<TransactResult> result) {
              deliver(weak, executor, [id, result = std::move(result)](Impl& self) mutable {
                auto found = self.transactions_.find(id);
                if (found != self.transactions_.end()) found->second->tell(std::move(result));
              });
            },
            [weak, executor](std::uint64_t number) {
              deliver(weak, executor, [number](Impl& self) {
                // Others may have been set since.
                if (number == self.conditions_number_ && self.on_conditions) self.on_conditions();
              });
            }};
  }

  void change_state(bool synced) {
    synced_ = synced;
    if (synced) {
      OvsThread::forget_complaint();
      for (auto& waiter : sync_waiters_) waiter->tell(policy::Result<void>());
    }
    if (on_state) on_state(synced);
  }

  asio::any_io_executor executor_;
  SessionOptions options_;
  std::shared_ptr<OvsThread> thread_;
  std::shared_ptr<Replica> replica_;
  std::shared_ptr<Reader> reader_;  ///< Once it was needed.
  bool synced_ = false;
  bool closed_ = false;
  Replica::TransactionId next_id_ = 1;
  std::uint64_t conditions_number_ = 0;
  std::map<Replica::TransactionId, std::shared_ptr<Waiter<policy::Result<TransactResult>>>>
      transactions_;
  std::map<Reader::Id, std::shared_ptr<Waiter<policy::Result<Answers>>>> reads_;
  std::list<std::shared_ptr<Waiter<policy::Result<void>>>> sync_waiters_;
};

Session::Session(asio::any_io_executor executor, SessionOptions options)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(options))) {
  impl_->make_replica();
}

Session::~Session() {
  impl_->close();
}

void Session::set_on_changes(std::function<void(std::vector<RowChange>, bool)> callback) {
  impl_->on_changes = std::move(callback);
}

void Session::set_on_state(std::function<void(bool)> callback) {
  impl_->on_state = std::move(callback);
}

void Session::set_on_conditions(std::function<void()> callback) {
  impl_->on_conditions = std::move(callback);
}

void Session::set_conditions(Conditions conditions) {
  impl_->set_conditions(std::move(conditions));
}

void Session::start() {
  impl_->start();
}

bool Session::synced() const {
  return impl_->synced();
}

std::string Session::problem() const {
  return impl_->problem();
}

asio::awaitable<policy::Result<void>> Session::wait_synced(std::chrono::milliseconds timeout) {
  return impl_->wait_synced(timeout);
}

asio::awaitable<policy::Result<TransactResult>> Session::transact(Transaction transaction) {
  return impl_->transact(std::move(transaction));
}

asio::awaitable<policy::Result<Answers>> Session::read(ReadRequest request) {
  return impl_->read(std::move(request));
}

}  // namespace homeport::overlay::ovsdb
