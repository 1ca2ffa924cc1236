#include "tests/unit/overlay/channel/test_peers.h"

#include "overlay/channel/connection.h"

#include <unistd.h>

#include <fmt/format.h>

#include <cstdlib>
#include <random>
#include <stdexcept>

namespace homeport::overlay {

ScratchDirectory::ScratchDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "homeport-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Authority::Authority(const std::string& name) {
  pki::create_ca(files(), name, pki::Validity::for_days(1)).value();
}

pki::KeyPairFiles Authority::files() const {
  return {directory_.path() / "ca.pem", directory_.path() / "ca-key.pem"};
}

TlsIdentity Authority::identity(const std::string& host, const pki::Validity& validity) {
  std::string stem = fmt::format("{}-{}", host, ++issued_);
  pki::KeyPairFiles made{directory_.path() / (stem + ".pem"),
                         directory_.path() / (stem + "-key.pem")};
  pki::issue_host_certificate(files(), {host, {}, validity}, made).value();
  return {files().certificate, made.certificate, made.private_key};
}

TlsContext Authority::context(const std::string& host, const pki::Validity& validity) {
  return TlsContext::load(identity(host, validity)).value();
}

PeerCheck anyone() {
  return [](const std::string&, const std::string&) { return Result<void>(); };
}

void ChannelFixture::run(asio::awaitable<void> test) {
  bool done = false;
  asio::co_spawn(io_, std::move(test), [&](std::exception_ptr failure) {
    done = true;
    if (failure) std::rethrow_exception(failure);
  });
  // Each step is short: a minute without any means that the test waits for what never comes.
  while (!done && io_.run_one_for(1min) > 0) {
  }
  ASSERT_TRUE(done) << "the test's coroutine hangs";
}

ServerOptions ChannelFixture::server_options() {
  return {.listen = {tcp::endpoint(asio::ip::address_v4::loopback(), 0)},
          .on_refused = [this](const Error& error) { refused_.put(error); }};
}

void ChannelFixture::serve(TlsContext tls, ServerOptions options, PeerCheck check) {
  server_ = std::move(ChannelServer::listen(io_.get_executor(), std::move(tls), std::move(options),
                                            std::move(check),
                                            [this](Channel channel) -> asio::awaitable<void> {
                                              accepted_.put(std::move(channel));
                                              co_return;
                                            })
                          .value());
}

void ChannelFixture::serve(PeerCheck check, Timeouts timeouts) {
  ServerOptions options = server_options();
  options.timeouts = timeouts;
  serve(tls_b_, std::move(options), std::move(check));
}

ConnectOptions ChannelFixture::to_b_at(const tcp::endpoint& endpoint) {
  ConnectOptions options;
  options.endpoint = endpoint;
  options.expected_host = "hostB";
  return options;
}

ConnectOptions ChannelFixture::to_b() const {
  return to_b_at(endpoint());
}

asio::awaitable<Result<Channel>> ChannelFixture::connect_to_b() {
  return connect(tls_a_, to_b(), anyone());
}

asio::awaitable<Error> ChannelFixture::failure_to_connect(TlsContext tls, ConnectOptions options,
                                                          PeerCheck check) {
  Result<Channel> channel = co_await connect(std::move(tls), std::move(options), std::move(check));
  if (channel) {
    ADD_FAILURE() << "a channel where none should be";
    co_return Error{};
  }
  co_return channel.error();
}

asio::awaitable<ChannelFixture::Pair> ChannelFixture::pair() {
  if (!server_) serve();
  Result<Channel> connected = co_await connect_to_b();
  Pair both;
  both.a = std::move(connected.value());
  both.b = co_await accepted_.take();
  co_return both;
}

asio::awaitable<std::unique_ptr<TlsStream>> ChannelFixture::raw_peer(SSL_CTX* context) {
  tcp::socket socket(io_);
  co_await socket.async_connect(endpoint(), asio::use_awaitable);
  auto stream = std::make_unique<TlsStream>(std::move(socket));
  Result<void> done = co_await stream->handshake(context != nullptr ? context : tls_a_.native(),
                                                 TlsStream::Role::client);
  EXPECT_TRUE(done) << done.error().message;
  co_return stream;
}

asio::awaitable<void> ChannelFixture::write_bytes(TlsStream& stream, std::string bytes) {
  Result<void> done = co_await stream.write(std::as_bytes(std::span(bytes)));
  EXPECT_TRUE(done) << done.error().message;
}

asio::awaitable<void> ChannelFixture::write_frame(TlsStream& stream,
                                                  const google::protobuf::MessageLite& message) {
  return write_bytes(stream, encode_frame(message, 0).value());
}

asio::awaitable<Hello> ChannelFixture::read_hello(TlsStream& stream) {
  Hello hello;
  std::array<std::byte, kFramePrefixSize> prefix;
  Result<void> done = co_await stream.read(prefix);
  if (!done) co_return hello;
  std::vector<std::byte> bytes(parse_frame_prefix(prefix, {}).value().header_size);
  done = co_await stream.read(bytes);
  EXPECT_TRUE(done);
  EXPECT_TRUE(hello.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  co_return hello;
}

Hello ChannelFixture::hello_of_a() {
  Hello hello;
  hello.set_protocol_version(kProtocol.newest);
  hello.set_host("hostA");
  hello.set_purpose(CHANNEL_PURPOSE_CONTROL);
  return hello;
}

StringValue text(std::string value) {
  StringValue message;
  message.set_value(std::move(value));
  return message;
}

std::vector<std::byte> pattern(std::size_t size, unsigned seed) {
  std::minstd_rand random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() >> 8);
  return bytes;
}

}  // namespace homeport::overlay
