#include "agent/status/event_streams.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/write.hpp>

#include <array>
#include <utility>

namespace homeport::agent {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

/// What is sent at a time; the kernel holds back some more. So a reader that stops reading is
/// noticed soon, and how slow one may be is this over StatusServerOptions::read_timeout.
constexpr std::size_t kPiece = 16 * 1024;
constexpr int kSendBuffer = 64 * 1024;

}  // namespace

struct EventStreams::Reader {
  explicit Reader(const asio::any_io_executor& executor) : wake(executor) {}
  asio::steady_timer wake;  ///< Cancelled when there is something to look at.
  std::array<char, 64> input;
  bool gone = false;
};

/// A reader's place among those of its streams, for as long as its coroutine lives.
class EventStreams::Registration {
 public:
  Registration(EventStreams& streams, Reader& reader) : streams_(streams), reader_(reader) {
    streams_.readers_.insert(&reader_);
  }
  ~Registration() { streams_.readers_.erase(&reader_); }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

 private:
  EventStreams& streams_;
  Reader& reader_;
};

EventStreams::EventStreams(asio::any_io_executor executor, const StatusServerOptions& options,
                           StatusServer::Provider provider)
    : options_(options), provider_(std::move(provider)), timer_(std::move(executor)) {}

void EventStreams::things_changed() {
  if (stopped_ || refresh_pending_ || readers_.empty()) return;
  refresh_pending_ = true;
  timer_.async_wait([weak = weak_from_this()](error_code) {
    auto self = weak.lock();
    if (!self || self->stopped_) return;
    self->refresh_pending_ = false;
    if (!self->readers_.empty()) self->refresh();
  });
}

void EventStreams::stop() {
  stopped_ = true;
  timer_.cancel();
}

void EventStreams::refresh() {
  // The expiry of a timer is moved only while nobody waits for it.
  if (!refresh_pending_) timer_.expires_after(options_.event_interval);
  if (!feed_.update(provider_({StatusPart::events}))) return;
  for (Reader* reader : readers_) reader->wake.cancel();
}

asio::awaitable<void> EventStreams::serve(std::shared_ptr<EventStreams> self, StatusStream& stream,
                                          StatusResponse head, std::string last_event_id) {
  auto reader = std::make_shared<Reader>(stream.get_executor());
  Registration registration(*self, *reader);
  // With other readers the feed is current, or about to be made so.
  if (self->readers_.size() == 1) self->refresh();
  EventFeed::Cursor cursor = self->feed_.resume(last_event_id);

  error_code ignored;
  stream.socket().set_option(asio::socket_base::send_buffer_size(kSendBuffer), ignored);
  stream.expires_after(self->options_.read_timeout);
  http::response_serializer<http::string_body> serializer(head);
  auto [head_ec, head_size] = co_await http::async_write_header(stream, serializer, kAwait);
  if (head_ec) co_return;

  // Nothing more is expected from the peer, so that this ends when the peer does. The deadlines of
  // the writes below do not concern a read that is under way.
  stream.expires_never();
  stream.async_read_some(asio::buffer(reader->input), [reader](error_code, std::size_t) {
    reader->gone = true;
    reader->wake.cancel();
  });
  auto quiet_until = std::chrono::steady_clock::now() + self->options_.heartbeat;
  while (!reader->gone) {
    std::string text = self->feed_.next(cursor, kPiece);
    if (text.empty()) {
      reader->wake.expires_at(quiet_until);
      auto [woken] = co_await reader->wake.async_wait(kAwait);
      if (woken) continue;
      text = ": nothing new\n\n";
    }
    stream.expires_after(self->options_.read_timeout);
    auto [ec, count] = co_await asio::async_write(stream, asio::buffer(text), kAwait);
    if (ec) break;
    quiet_until = std::chrono::steady_clock::now() + self->options_.heartbeat;
  }
  stream.close();  // ends the read, if it is still under way
}

}  // namespace homeport::agent
