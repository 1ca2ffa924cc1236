// homeportd for tests: holds a move at the step named in HOMEPORT_HOLD_AT, once. It makes the file
// named in HOMEPORT_HOLD_FILE to say that it is there, and goes on when the file is gone.
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "agent/run.h"

namespace {

namespace asio = boost::asio;

struct Hold {
  std::string step;
  std::filesystem::path file;
  bool done = false;

  asio::awaitable<void> at(std::string_view point) {
    if (done || point != step) co_return;
    done = true;
    std::ofstream(file).flush();
    asio::steady_timer timer(co_await asio::this_coro::executor);
    while (std::filesystem::exists(file)) {
      timer.expires_after(std::chrono::milliseconds(5));
      co_await timer.async_wait(asio::use_awaitable);
    }
  }
};

}  // namespace

int main(int argc, char** argv) {
  const char* step = std::getenv("HOMEPORT_HOLD_AT");
  const char* file = std::getenv("HOMEPORT_HOLD_FILE");
  auto hold = std::make_shared<Hold>();
  if (step != nullptr && file != nullptr) *hold = {step, file};
  return homeport::agent::run_agent(argc, argv,
                                    [hold](std::string_view point) { return hold->at(point); });
}
