import com.lmax.disruptor.BlockingWaitStrategy;
import com.lmax.disruptor.EventHandler;
import com.lmax.disruptor.RingBuffer;
import com.lmax.disruptor.WaitStrategy;
import com.lmax.disruptor.YieldingWaitStrategy;
import com.lmax.disruptor.dsl.ProducerType;
import com.lmax.disruptor.util.DaemonThreadFactory;
import java.io.BufferedReader;
import java.io.InputStreamReader;

/**
 * The LMAX Disruptor: producers publish to a ring; one consumer gathers batches of at most 512, and hands one on when it is full
 * or the ring has nothing more.
 *
 * <p>For each line "WAIT-STRATEGY PRODUCERS MESSAGES" on standard input it measures once and answers with the seconds it took.
 */
public class Disruptor {
  static final int BATCH_SIZE = 512;
  // The best of 1,024, 8,192, 65,536 and 1,048,576: the larger the faster with several producers, but not with one.
  static final int RING_SIZE_FOR_ONE = 1 << 16;
  static final int RING_SIZE_FOR_SEVERAL = 1 << 20;

  static final class Slot {
    long message;
  }

  static final class Gatherer implements EventHandler<Slot> {
    private final long[] batch = new long[BATCH_SIZE];
    private int count;
    volatile long handled;
    private long seen;

    @Override
    public void onEvent(Slot slot, long sequence, boolean endOfBatch) {
      batch[count++] = slot.message;
      if (count == BATCH_SIZE || endOfBatch) {
        handle(batch, count);
        count = 0;
      }
    }

    private void handle(long[] batch, int count) {
      seen += count;
      handled = seen;
    }
  }

  static double measure(WaitStrategy strategy, int producers, int count) throws Exception {
    var disruptor = new com.lmax.disruptor.dsl.Disruptor<>(
        Slot::new, producers == 1 ? RING_SIZE_FOR_ONE : RING_SIZE_FOR_SEVERAL, DaemonThreadFactory.INSTANCE,
        producers == 1 ? ProducerType.SINGLE : ProducerType.MULTI, strategy);
    var gatherer = new Gatherer();
    disruptor.handleEventsWith(gatherer);
    RingBuffer<Slot> ring = disruptor.start();
    int each = count / producers;
    var threads = new Thread[producers];
    long start = System.nanoTime();
    for (int producer = 0; producer < producers; producer++) {
      threads[producer] = new Thread(() -> {
        for (int message = 0; message < each; message++) {
          long sequence = ring.next();
          ring.get(sequence).message = message;
          ring.publish(sequence);
        }
      });
      threads[producer].start();
    }
    for (var thread : threads) thread.join();
    disruptor.shutdown();
    double seconds = (System.nanoTime() - start) / 1e9;
    if (gatherer.handled != (long) each * producers) throw new IllegalStateException("messages were lost");
    return seconds;
  }

  public static void main(String[] arguments) throws Exception {
    var lines = new BufferedReader(new InputStreamReader(System.in));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      var words = line.split(" ");
      WaitStrategy strategy =
          words[0].equals("yielding") ? new YieldingWaitStrategy() : new BlockingWaitStrategy();
      System.out.println(measure(strategy, Integer.parseInt(words[1]), Integer.parseInt(words[2])));
    }
  }
}
