#include "tests/bench/scale/post.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/address_v4.hpp>

#include <sstream>
#include <utility>

namespace homeport::bench {

namespace asio = boost::asio;
using asio::ip::udp;

Post::Post(const asio::any_io_executor& executor, std::uint16_t first_port, unsigned processes,
           unsigned process, Deliver deliver)
    : first_port_(first_port),
      processes_(processes),
      deliver_(std::move(deliver)),
      socket_(executor, udp::endpoint(asio::ip::address_v4::loopback(),
                                      static_cast<std::uint16_t>(first_port + process))) {
  socket_.set_option(asio::socket_base::receive_buffer_size(1 << 20));
  socket_.non_blocking(true);
  receive();
}

void Post::send(const Letter& letter) {
  std::string text = letter.to + ' ' + letter.from + ' ' + letter.kind;
  for (const std::string& word : letter.words) text += ' ' + word;
  const auto number = std::stoul(letter.to.substr(std::string("host").size()));
  const udp::endpoint there(asio::ip::address_v4::loopback(),
                            static_cast<std::uint16_t>(first_port_ + number % processes_));
  boost::system::error_code error;
  socket_.send_to(asio::buffer(text), there, 0, error);
  if (error) ++unsent_;
}

void Post::receive() {
  socket_.async_receive(asio::buffer(buffer_),
                        [this](boost::system::error_code error, std::size_t size) {
                          if (error == asio::error::operation_aborted) return;
                          if (!error) {
                            std::istringstream text(std::string(buffer_.data(), size));
                            Letter letter;
                            text >> letter.to >> letter.from >> letter.kind;
                            for (std::string word; text >> word;) letter.words.push_back(word);
                            deliver_(letter);
                          }
                          receive();
                        });
}

}  // namespace homeport::bench
