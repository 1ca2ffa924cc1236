// Stands between a session and its server, sees what passes and can lose the server's answers.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace homeport::test {

class LossyProxy {
 public:
  LossyProxy(boost::asio::io_context& io, std::filesystem::path listen,
             std::filesystem::path server);
  /// Calls `on_request` once when a chunk that contains `text` has been passed on to the server.
  void watch_for_request_with(std::string text, std::function<void()> on_request);
  /// From now on nothing that the server sends gets through. When a chunk of it contains `text`,
  /// all connections are closed, `on_loss` is called, and later connections are served normally.
  void lose_answer_with(std::string text, std::function<void()> on_loss);

 private:
  using Socket = boost::asio::local::stream_protocol::socket;
  boost::asio::awaitable<void> accept();
  boost::asio::awaitable<void> forward(std::shared_ptr<Socket> from, std::shared_ptr<Socket> to,
                                       bool from_server);

  boost::asio::io_context& io_;
  std::filesystem::path server_;
  boost::asio::local::stream_protocol::acceptor acceptor_;
  std::string watched_;
  std::function<void()> on_request_;
  std::string fatal_;
  std::function<void()> on_loss_;
};

}  // namespace homeport::test
