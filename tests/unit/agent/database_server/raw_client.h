// An OVSDB client that sends what it is told to (JSON-RPC, RFC 7047) and checks nothing.
#pragma once

#include "overlay/ovsdb/session.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/json.hpp>

#include <array>
#include <filesystem>
#include <string>

namespace homeport::agent::test {

template <class Stream>
class RawClient {
 public:
  template <class... Arguments>
  explicit RawClient(Arguments&&... arguments)
      : stream(context_, std::forward<Arguments>(arguments)...) {}

  /// The reply to `method`, with its "result" and "error".
  boost::json::object call(const std::string& method, boost::json::array parameters) {
    send({{"method", method}, {"params", std::move(parameters)}, {"id", ++last_id_}});
    while (true) {
      auto message = receive();
      if (message.if_contains("method") && message["method"] == "echo") {
        send({{"result", message["params"]}, {"error", nullptr}, {"id", message["id"]}});
      }
      if (!message.if_contains("method") && message["id"] == last_id_) return message;
    }
  }

 private:
  void send(const boost::json::object& message) {
    boost::asio::write(stream, boost::asio::buffer(boost::json::serialize(message)));
  }
  boost::json::object receive() {
    boost::json::stream_parser parser;
    while (true) {
      if (unread_.empty()) {
        std::array<char, 65536> buffer;
        auto count = stream.read_some(boost::asio::buffer(buffer));
        unread_.assign(buffer.data(), count);
      }
      unread_.erase(0, parser.write_some(unread_));
      if (parser.done()) return parser.release().as_object();
    }
  }

  boost::asio::io_context context_;
  std::string unread_;
  std::int64_t last_id_ = 0;

 public:
  Stream stream;
};

class UnixClient : public RawClient<boost::asio::local::stream_protocol::socket> {
 public:
  explicit UnixClient(const std::filesystem::path& path) { stream.connect(path.string()); }
};

class TlsContext {
 protected:
  explicit TlsContext(const overlay::ovsdb::TlsFiles& files)
      : tls(boost::asio::ssl::context::tls_client) {
    tls.use_private_key_file(files.private_key.string(), boost::asio::ssl::context::pem);
    tls.use_certificate_chain_file(files.certificate.string());
  }
  boost::asio::ssl::context tls;
};

class TlsClient : private TlsContext,
                  public RawClient<boost::asio::ssl::stream<boost::asio::ip::tcp::socket>> {
 public:
  TlsClient(const overlay::ovsdb::TlsFiles& files, const boost::asio::ip::tcp::endpoint& server)
      : TlsContext(files), RawClient(tls) {
    stream.next_layer().connect(server);
    stream.handshake(boost::asio::ssl::stream_base::client);
  }
};

}  // namespace homeport::agent::test
