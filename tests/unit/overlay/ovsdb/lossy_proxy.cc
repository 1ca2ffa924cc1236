#include "tests/unit/overlay/ovsdb/lossy_proxy.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include <string_view>
#include <utility>

namespace homeport::test {

namespace asio = boost::asio;
using asio::local::stream_protocol;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

LossyProxy::LossyProxy(asio::io_context& io, std::filesystem::path listen,
                       std::filesystem::path server)
    : io_(io),
      server_(std::move(server)),
      acceptor_(io, stream_protocol::endpoint(listen.string())) {
  asio::co_spawn(io_, accept(), asio::detached);
}

void LossyProxy::watch_for_request_with(std::string text, std::function<void()> on_request) {
  watched_ = std::move(text);
  on_request_ = std::move(on_request);
}

void LossyProxy::lose_answer_with(std::string text, std::function<void()> on_loss) {
  fatal_ = std::move(text);
  on_loss_ = std::move(on_loss);
}

asio::awaitable<void> LossyProxy::accept() {
  while (true) {
    auto client = std::make_shared<Socket>(io_);
    auto [error] = co_await acceptor_.async_accept(*client, kAwait);
    if (error) co_return;
    auto server = std::make_shared<Socket>(io_);
    auto [refused] =
        co_await server->async_connect(stream_protocol::endpoint(server_.string()), kAwait);
    if (refused) continue;
    asio::co_spawn(io_, forward(client, server, false), asio::detached);
    asio::co_spawn(io_, forward(server, client, true), asio::detached);
  }
}

asio::awaitable<void> LossyProxy::forward(std::shared_ptr<Socket> from, std::shared_ptr<Socket> to,
                                          bool from_server) {
  std::string buffer(65536, '\0');
  std::string lost;
  while (true) {
    auto [error, count] = co_await from->async_read_some(asio::buffer(buffer), kAwait);
    if (error) break;
    if (from_server && !fatal_.empty()) {
      lost.append(buffer, 0, count);
      if (lost.find(fatal_) == lost.npos) continue;
      fatal_.clear();
      on_loss_();
      break;
    }
    auto [failed, written] =
        co_await asio::async_write(*to, asio::buffer(buffer.data(), count), kAwait);
    if (failed) break;
    bool seen = std::string_view(buffer).substr(0, count).find(watched_) != std::string_view::npos;
    if (!from_server && !watched_.empty() && seen) {
      watched_.clear();
      on_request_();
    }
  }
  from->close();
  to->close();
}

}  // namespace homeport::test
