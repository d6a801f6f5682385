//! Spherical k-means (Dhillon and Modha 2001) with the seeding of k-means++ (Arthur and Vassilvitskii 2007).

use rand::Rng;

const ITERATIONS: usize = 25;

/// Divides `points: [n, width]`, each of length 1 (or 0), into at most `k` clusters by cosine.
///
/// Returns the centroids, of length 1, and the index of each point's cluster; no cluster is empty.
pub(super) fn cluster(points: &[f32], width: usize, k: usize, rng: &mut impl Rng) -> (Vec<Vec<f32>>, Vec<usize>) {
    let points: Vec<&[f32]> = points.chunks_exact(width).collect();
    let mut centroids = seeds(&points, k, rng);
    let mut members = vec![usize::MAX; points.len()];
    for _ in 0..ITERATIONS {
        let assigned: Vec<usize> = points.iter().map(|point| nearest(point, &centroids).0).collect();
        if assigned == members {
            break;
        }
        members = assigned;
        let mut sums = vec![vec![0f64; width]; centroids.len()];
        for (point, member) in points.iter().zip(&members) {
            sums[*member].iter_mut().zip(*point).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        for (centroid, sum) in centroids.iter_mut().zip(sums) {
            let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
            // A centroid that has no members, or whose members sum to zero, stays unchanged.
            if norm > 0.0 {
                #[expect(clippy::cast_possible_truncation, reason = "states are f32")]
                centroid.iter_mut().zip(&sum).for_each(|(c, x)| *c = (x / norm) as f32);
            }
        }
    }
    drop_empty(centroids, members)
}

/// Draws at most `k` points one after another: the first uniformly, each later one with a probability proportional to
/// `1 - cos` of the point and the nearest one drawn before.
fn seeds(points: &[&[f32]], k: usize, rng: &mut impl Rng) -> Vec<Vec<f32>> {
    let mut seeds: Vec<Vec<f32>> = Vec::new();
    while seeds.len() < k && !points.is_empty() {
        let distances: Vec<f64> = points
            .iter()
            .map(|point| if seeds.is_empty() { 1.0 } else { (1.0 - f64::from(nearest(point, &seeds).1)).max(0.0) })
            // Through rounding, the distance of a seed from its copy may be slightly above 0.
            .map(|distance| if distance < 1e-6 { 0.0 } else { distance })
            .collect();
        let mut left = rng.random::<f64>() * distances.iter().sum::<f64>();
        let mut drawn = None;
        for (i, distance) in distances.iter().enumerate().filter(|(_, distance)| **distance > 0.0) {
            drawn = Some(i);
            left -= distance;
            if left < 0.0 {
                break;
            }
        }
        // Every point is a seed or the copy of one.
        let Some(drawn) = drawn else { break };
        seeds.push(points[drawn].to_vec());
    }
    seeds
}

/// Returns the index of the centroid with the largest dot product, the first of equal ones, and that product.
fn nearest(point: &[f32], centroids: &[Vec<f32>]) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (i, centroid) in centroids.iter().enumerate() {
        let dot = point.iter().zip(centroid).map(|(a, b)| a * b).sum();
        if dot > best.1 {
            best = (i, dot);
        }
    }
    best
}

/// Removes the clusters without members, and updates the cluster index of each point.
fn drop_empty(centroids: Vec<Vec<f32>>, members: Vec<usize>) -> (Vec<Vec<f32>>, Vec<usize>) {
    let mut places = vec![usize::MAX; centroids.len()];
    let mut kept = Vec::new();
    for (i, centroid) in centroids.into_iter().enumerate() {
        if members.contains(&i) {
            places[i] = kept.len();
            kept.push(centroid);
        }
    }
    (kept, members.into_iter().map(|member| places[member]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Points around three directions.
    fn points() -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut points = Vec::new();
        for i in 0..60 {
            let mut point = [0f32; 4];
            point[i % 3] = 1.0;
            for x in &mut point {
                *x += 0.2 * (rng.random::<f32>() - 0.5);
            }
            let norm = point.iter().map(|x| x * x).sum::<f32>().sqrt();
            points.extend(point.map(|x| x / norm));
        }
        points
    }

    #[test]
    fn finds_the_directions() {
        for seed in 0..20 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (centroids, members) = cluster(&points(), 4, 3, &mut rng);
            assert_eq!(centroids.len(), 3);
            assert!((3..60).all(|i| members[i] == members[i - 3]), "{members:?}");
            for centroid in &centroids {
                assert!((centroid.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn no_more_clusters_than_different_points() {
        let twice = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        let (centroids, members) = cluster(&twice, 2, 8, &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!(centroids.len(), 2);
        assert_eq!(members[0], members[1]);
        assert_ne!(members[0], members[2]);
        let (centroids, members) = cluster(&[0.0, 0.0], 2, 3, &mut ChaCha8Rng::seed_from_u64(0));
        assert_eq!((centroids.len(), members), (1, vec![0]));
    }
}
